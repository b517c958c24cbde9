"""The rules for LoRA strategies."""

import pytest
from vertebra import LoraStrategy
from vertebra.testing import StrategySuite

from example_plugin import vertebra_lora_strategies


class TestExamplePlugin(StrategySuite):
    @pytest.fixture
    def strategy(self) -> LoraStrategy:
        (strategy,) = vertebra_lora_strategies()
        return strategy
