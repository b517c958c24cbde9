"""The rules for architectures, for MPNet."""

import pytest

from vertebra.testing import BackboneSuite
from vertebra_mpnet import plugin

pytestmark = pytest.mark.keras

SIZES = {"vocabulary_size": 61, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24}


class TestMPNet(BackboneSuite):
    @pytest.fixture
    def spec(self):
        (spec,) = plugin.vertebra_backbones()
        return spec

    @pytest.fixture
    def arguments(self):
        return SIZES | {"max_sequence_length": 12}

    @pytest.fixture
    def without_gradient(self):
        return ("*/key/bias",)  # adds the same to all scores of a query
