"""Transfers from a bucket that go wrong (NW-03 to NW-06)."""

import random

import pytest

from servers import faults
from servers.transfers import FILES, LARGE, TransferSuite
from vertebra.errors import IntegrityError, PresetError, SourceUnavailableError
from vertebra.testing import opened
from vertebra_s3 import access

pytest.importorskip("obstore")


@pytest.fixture(scope="module")
def pushed():
    """The handle of the preset that all tests read, and the one of its revision, once it has been pushed."""
    return {}


@pytest.fixture
def handles(pushed, source, write, destination):
    """The handle of a preset that has been pushed, and the one of its revision."""
    if not pushed:
        pushed[destination] = source.upload(destination, write(FILES), False, "message")
    [handles] = pushed.items()
    return handles


@pytest.fixture
def pinned(source, handles):
    """The revision of the preset, whose files are listed."""
    opened(source).files(handles[1])
    return handles[1]


class TestTransfers(TransferSuite):
    @pytest.fixture
    def service(self, proxy):
        return proxy

    @pytest.fixture
    def pinned(self, pinned):
        return pinned


class TestTransfersByTheClient(TestTransfers):
    """As of Google's and Microsoft's services."""

    misread = (IntegrityError, SourceUnavailableError)  # the client library is the first to notice

    @pytest.fixture
    def source(self, reading_by_client):
        return reading_by_client


def test_a_flipped_bit_of_a_manifest_is_never_believed(proxy, source, handles):
    choose = random.Random(5)
    for _ in range(60):
        proxy.faults = [faults.flip_bit(choose.randrange(500), choose.randrange(8), files="*vertebra.json")]
        with pytest.raises(PresetError):
            source.resolve_snapshot(choose.choice(handles))


def test_a_service_that_stalls_is_given_up(proxy, source, pinned, monkeypatch):
    monkeypatch.setattr(access, "READ_SECONDS", 0.2)
    proxy.faults = [faults.stall(5, times=1), faults.stall(5, at=None, times=1)]
    other = type(source)()  # whose clients are not made yet
    assert opened(other).fetch(pinned, "model.safetensors").read_bytes() == LARGE
    proxy.faults = [faults.stall(5, at=None)]
    with pytest.raises(SourceUnavailableError, match="the connection timed out"):
        other.resolve_snapshot(pinned)
