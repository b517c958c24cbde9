"""Transfers from ModelScope that go wrong (NW-03 to NW-06): small files come from the service, large from storage."""

import pytest

from servers.transfers import FILES, TransferSuite
from vertebra import PresetHandle
from vertebra.testing import opened


class TestTransfers(TransferSuite):
    @pytest.fixture
    def service(self, service):
        return service

    @pytest.fixture
    def pinned(self, source, service):
        service.commit("acme/bert", FILES)
        pinned = opened(source).resolve(PresetHandle("modelscope", "acme/bert"))
        opened(source).files(pinned)
        return pinned
