"""The rules for architectures, for RoBERTa, whose network is that of XLM-RoBERTa and CamemBERT."""

import pytest

from vertebra.testing import BackboneSuite
from vertebra_roberta import plugin

pytestmark = pytest.mark.keras

SIZES = {"vocabulary_size": 61, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24}


class TestRoberta(BackboneSuite):
    @pytest.fixture
    def spec(self):
        return plugin.vertebra_backbones()[0]

    @pytest.fixture
    def arguments(self):
        return SIZES | {"max_sequence_length": 12, "pooler": True}

    @pytest.fixture
    def without_gradient(self):
        return ("*/key/bias",)  # adds the same to all scores of a query

    @pytest.fixture
    def format_arguments(self):
        return {"kerashub": {"pooler": False}}
