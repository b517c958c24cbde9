"""Transfers from Kaggle that go wrong (NW-03 to NW-06)."""

import gzip

import pytest

from fuzz.watch import forget_peak, peak
from servers import faults
from servers.messages import Content, Response
from servers.transfers import FILES, LARGE, TransferSuite, is_refused
from vertebra import PresetHandle
from vertebra.errors import SourceUnavailableError
from vertebra.testing import opened

VARIATION = "acme/bert/keras/small"
CALL = {"paths": "*/DownloadModelInstanceVersion", "methods": ("POST",)}


@pytest.fixture
def kaggle(kaggle):
    kaggle.publish(VARIATION, FILES)
    return kaggle


class TestTransfers(TransferSuite):
    @pytest.fixture
    def service(self, kaggle):
        return kaggle

    @pytest.fixture
    def pinned(self, kaggle, source):
        return opened(source).resolve(PresetHandle("kaggle", VARIATION))

    @pytest.mark.parametrize(
        "fault",
        [faults.status(403, times=1), faults.status(503, times=2, **CALL), faults.reset(times=2, **CALL)],
        ids=str,
    )
    def test_a_link_that_is_not_to_be_had_at_once_is_asked_for_again(self, kaggle, source, pinned, fault):
        kaggle.faults = [fault]
        assert opened(source).fetch(pinned, "model.safetensors").read_bytes() == LARGE

    def test_a_link_that_is_refused_is_told(self, kaggle, source, pinned, cache):
        is_refused(kaggle, source, pinned, cache, "config.json", faults.status(403), SourceUnavailableError)


def test_a_server_that_stalls_is_given_up(kaggle, fetch, monkeypatch):
    from vertebra_kaggle import client, storage

    monkeypatch.setattr(storage, "WAITS", (1.0, 0.1))
    monkeypatch.setattr(client, "WAITS", (1.0, 0.1))
    kaggle.faults = [faults.stall(10, times=1), faults.stall(10, at=None, times=1)]
    assert fetch(f"kaggle://{VARIATION}") == LARGE
    kaggle.faults = [faults.stall(10, at=None, paths="*/ListModelInstanceVersionFiles", methods=("POST",))]
    kaggle.publish(VARIATION, FILES)
    with pytest.raises(SourceUnavailableError, match="ReadTimeout"):
        fetch(f"kaggle://{VARIATION}/2")


@pytest.mark.parametrize(
    ("body", "encoding", "words"),
    [
        (b'{"files": [], "nextPageToken": "' + b"a" * 2**28 + b'"}', "gzip", "more than 4,194,304 bytes"),
        (b'{"files": [' + b"{}," * 300_000 + b"{}]}", "identity", "more than 50,000 objects and lists"),
    ],
    ids=["packed", "small objects"],
)
def test_a_list_that_would_take_much_memory_is_refused(kaggle, source, body, encoding, words):
    """A response of 1 MB took 4 GB of memory when it was unpacked, and one of 1 MB of small objects 340 MB."""
    sent = gzip.compress(body, 1) if encoding == "gzip" else body
    response = Response(200, {"Content-Type": "application/json", "Content-Encoding": encoding}, Content.of(sent))
    lists = {"paths": "*/ListModelInstanceVersionFiles", "methods": ("POST",)}
    kaggle.faults = [faults.Fault("a long list", lambda *_: response, answers=True, **lists)]
    forget_peak()
    before = peak()
    with pytest.raises(SourceUnavailableError, match=words):
        source.resolve_snapshot(PresetHandle("kaggle", f"{VARIATION}/1"))
    assert peak() - before < 50 * 2**20
