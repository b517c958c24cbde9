"""The rules for formats."""

import pytest
from vertebra import PresetFormat
from vertebra.testing import FormatSuite

from example_plugin import vertebra_formats


class TestExamplePlugin(FormatSuite):
    @pytest.fixture
    def format(self) -> PresetFormat:
        (format,) = vertebra_formats()
        return format
