"""Transfers from a hub that go wrong (NW-03 to NW-06)."""

import pytest

from servers import faults
from servers.transfers import FILES, LARGE, TransferSuite
from vertebra import PresetHandle
from vertebra.errors import SourceUnavailableError
from vertebra.testing import opened
from vertebra_hf import hub as asking

REPO = "acme/bert"


@pytest.fixture
def hub(hub):
    hub.commit(REPO, FILES)
    return hub


class TestTransfers(TransferSuite):
    @pytest.fixture
    def service(self, hub):
        return hub

    @pytest.fixture
    def pinned(self, hub, source):
        return opened(source).resolve(PresetHandle("hf", REPO))


def test_a_server_that_stalls_is_given_up(hub, fetch, monkeypatch):
    monkeypatch.setattr(asking, "READ_SECONDS", 0.1)
    hub.faults = [faults.stall(10, times=1), faults.stall(10, at=None, times=1)]
    assert fetch(f"hf://{REPO}") == LARGE
    hub.faults = [faults.stall(10, at=None, paths="/api/*")]
    with pytest.raises(SourceUnavailableError, match="ReadTimeout"):
        fetch(f"hf://{REPO}@main")
