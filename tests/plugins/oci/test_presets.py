"""Presets and adapters in a registry."""

import pytest

from servers.conformance import PublishedSuite

pytestmark = pytest.mark.keras(once=True)


class TestPublished(PublishedSuite):
    @pytest.fixture
    def new_handle(self, destination):
        return destination
