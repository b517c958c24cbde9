"""Transfers from a bucket that go wrong (NW-03 to NW-06)."""

import random

import pytest

from servers import faults
from servers.transfers import FILES, LARGE, TransferSuite
from vertebra.errors import IntegrityError, PresetError, SourceUnavailableError
from vertebra.testing import opened
from vertebra_s3 import access

pytest.importorskip("obstore")


@pytest.fixture
def pinned(source, write, destination):
    """A preset that was pushed and looked up."""
    pinned = source.upload(destination, write(FILES), False, "message")
    opened(source).files(pinned)
    return pinned


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


def test_a_flipped_bit_of_a_manifest_is_never_believed(proxy, source, pinned, destination):
    choose = random.Random(5)
    for _ in range(60):
        proxy.faults = [faults.flip_bit(choose.randrange(500), choose.randrange(8), files="*vertebra.json")]
        with pytest.raises(PresetError):
            source.resolve_snapshot(choose.choice([pinned, destination]))


def test_a_service_that_stalls_is_given_up(proxy, source, pinned, monkeypatch):
    monkeypatch.setattr(access, "READ_SECONDS", 0.2)
    proxy.faults = [faults.stall(5, times=1), faults.stall(5, at=None, times=1)]
    other = type(source)()  # whose clients are not made yet
    assert opened(other).fetch(pinned, "model.safetensors").read_bytes() == LARGE
    proxy.faults = [faults.stall(5, at=None)]
    with pytest.raises(SourceUnavailableError, match="the connection timed out"):
        other.resolve_snapshot(pinned)
