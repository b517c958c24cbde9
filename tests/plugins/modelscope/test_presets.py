"""Presets and adapters on ModelScope."""

import pytest

from servers.conformance import PublishedSuite
from vertebra import PresetHandle

pytestmark = pytest.mark.keras(once=True)


class TestPublished(PublishedSuite):
    @pytest.fixture
    def new_handle(self, service, token):
        return PresetHandle("modelscope", "acme/new")
