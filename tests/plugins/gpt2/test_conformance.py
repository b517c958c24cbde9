"""The rules for architectures, for GPT-2."""

import pytest

from vertebra.testing import BackboneSuite
from vertebra_gpt2 import plugin

pytestmark = pytest.mark.keras

SIZES = {"vocabulary_size": 61, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24}


class TestGPT2(BackboneSuite):
    @pytest.fixture
    def spec(self):
        (spec,) = plugin.vertebra_backbones()
        return spec

    @pytest.fixture
    def arguments(self):
        return SIZES | {"max_sequence_length": 12, "dropout": 0.1}

    @pytest.fixture
    def without_gradient(self):
        return ("*/key/bias",)  # adds the same to all scores of a query
