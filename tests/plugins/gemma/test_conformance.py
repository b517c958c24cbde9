"""The rules for architectures, for the classes of Gemma."""

import pytest

from vertebra.testing import BackboneSuite
from vertebra_gemma import plugin

pytestmark = pytest.mark.keras

SIZES = {"vocabulary_size": 61, "num_layers": 2, "num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 16}
SIZES |= {"intermediate_dim": 24, "head_dim": 6}


class TestGemma(BackboneSuite):
    @pytest.fixture
    def spec(self):
        return plugin.vertebra_backbones()[0]

    @pytest.fixture
    def arguments(self):
        return SIZES


class TestGemma3(BackboneSuite):
    @pytest.fixture
    def spec(self):
        return plugin.vertebra_backbones()[1]

    @pytest.fixture
    def arguments(self):
        norms = {"use_post_ffw_norm": True, "use_post_attention_norm": True}
        return SIZES | norms | {"use_sliding_window_attention": True, "sliding_window_size": 3}
