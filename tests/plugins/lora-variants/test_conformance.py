"""The rules for LoRA strategies, for those of this plugin and of the core."""

import pytest

from vertebra.builtin import plugin as builtin
from vertebra.testing import StrategySuite
from vertebra_lora_variants import plugin

pytestmark = pytest.mark.keras

STRATEGIES = [*builtin.vertebra_lora_strategies(), *plugin.vertebra_lora_strategies()]


class TestStrategies(StrategySuite):
    @pytest.fixture(params=STRATEGIES, ids=lambda strategy: strategy.name)
    def strategy(self, request):
        return request.param

    @pytest.fixture
    def settings(self, strategy, kind):
        rank = 3 if kind.startswith("conv2d") else 2  # a block size of OFT divides the inputs
        values = {"rank": rank, "alpha": 3.0}
        tokens = {"token_indices": [7, 2, 0]} if "token_indices" in strategy.options else {}
        return {name: value for name, value in values.items() if name in strategy.settings} | tokens
