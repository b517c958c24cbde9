"""The rules for preset packs."""

from collections.abc import Sequence

import pytest
from vertebra import PresetSpec
from vertebra.testing import PresetPackSuite

from example_plugin import vertebra_presets


class TestExamplePlugin(PresetPackSuite):
    @pytest.fixture
    def presets(self) -> Sequence[PresetSpec]:
        return vertebra_presets()
