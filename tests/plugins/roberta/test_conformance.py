"""The rules for architectures, for RoBERTa, whose network is that of XLM-RoBERTa and CamemBERT."""

import numpy as np
import pytest

from vertebra.testing import BackboneSuite
from vertebra.testing.backbones.inputs import disturb
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

    @pytest.fixture
    def set_values(self):
        def set_values(backbone):
            disturb(backbone.weights)
            table, segments = backbone.position_embedding.embeddings, backbone.segment_embedding.embeddings
            table.assign(np.concatenate([np.zeros((2, 16)), table.numpy()[2:]]))
            segments.assign(np.zeros((1, 16)))  # KerasHub adds them to the positions, but has no row for padding

        return set_values
