"""The rules for built-in presets, for those of all architectures."""

import pytest

from vertebra._discovery import catalog
from vertebra.testing import PresetPackSuite

SPECS = [entry.value for entry in catalog.catalog(catalog.BACKBONES)]


class TestPresets(PresetPackSuite):
    @pytest.fixture(params=[spec for spec in SPECS if spec.presets], ids=lambda spec: spec.name)
    def presets(self, request):
        return request.param.presets
