"""The rules for architectures, for Gemma."""

import pytest

from vertebra.testing import BackboneSuite
from vertebra_gemma import plugin

pytestmark = pytest.mark.keras

SIZES = {"vocabulary_size": 61, "num_layers": 2, "num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 16}
SIZES |= {"intermediate_dim": 24, "head_dim": 6}


class TestGemma(BackboneSuite):
    @pytest.fixture
    def spec(self):
        (spec,) = plugin.vertebra_backbones()
        return spec

    @pytest.fixture
    def arguments(self):
        return SIZES
