"""The rules for architectures, for BERT and ELECTRA."""

import pytest

from vertebra.testing import BackboneSuite
from vertebra_bert import plugin

pytestmark = pytest.mark.keras

SIZES = {"vocabulary_size": 61, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24}
SIZES |= {"max_sequence_length": 12, "dropout": 0.1}


class TestBert(BackboneSuite):
    @pytest.fixture
    def spec(self):
        return plugin.vertebra_backbones()[0]

    @pytest.fixture
    def arguments(self):
        return SIZES

    @pytest.fixture
    def without_gradient(self):
        return ("*/key/bias",)  # adds the same to all scores of a query


class TestElectra(TestBert):
    @pytest.fixture
    def spec(self):
        return plugin.vertebra_backbones()[1]

    @pytest.fixture
    def arguments(self):
        return SIZES | {"embedding_dim": 8, "pooler": False}

    @pytest.fixture
    def format_arguments(self):
        return {"kerashub": {"pooler": True}}
