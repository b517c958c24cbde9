"""The rules for architectures, for ModernBERT."""

import pytest

from vertebra.testing import BackboneSuite
from vertebra_modernbert import plugin

pytestmark = pytest.mark.keras

SIZES = {"vocabulary_size": 61, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24}


class TestModernBert(BackboneSuite):
    @pytest.fixture
    def spec(self):
        (spec,) = plugin.vertebra_backbones()
        return spec

    @pytest.fixture
    def arguments(self):
        return SIZES | {"local_attention": 4, "norm_bias": True, "attention_bias": True}
