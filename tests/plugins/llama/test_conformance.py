"""The rules for architectures, for two of the classes, which have all parts of the network between them."""

import pytest

from vertebra.testing import BackboneSuite
from vertebra_llama import plugin

pytestmark = pytest.mark.keras

SIZES = {"vocabulary_size": 61, "num_layers": 2, "num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 16}
SIZES |= {"intermediate_dim": 24, "max_sequence_length": 24}
LONGROPE = {"rope_type": "longrope", "factor": 2.0, "original_max_position_embeddings": 12}


class KinSuite(BackboneSuite):
    """The rules for one of the classes."""

    name: str

    @pytest.fixture
    def spec(self):
        (spec,) = (spec for spec in plugin.vertebra_backbones() if spec.name == self.name)
        return spec


class TestQwen3(KinSuite):
    name = "Qwen3Backbone"

    @pytest.fixture
    def arguments(self):
        types = {"sliding_window": 4, "layer_types": ["full_attention", "sliding_attention"]}
        return SIZES | types | {"head_dim": 6, "attention_bias": True, "tie_word_embeddings": False}

    @pytest.fixture
    def format_arguments(self):
        whole = {"sliding_window": None, "layer_types": None}
        return {"kerashub": whole | {"query_key_norm_epsilon": 1e-5, "attention_bias": False}}

    @pytest.fixture
    def without_gradient(self):
        return ("token_embedding/reverse_embeddings",)  # the matrix of the logits


@pytest.mark.keras(once=True)
class TestPhi3(KinSuite):
    name = "Phi3Backbone"

    @pytest.fixture
    def arguments(self):
        scaling = LONGROPE | {"short_factor": [1.0], "long_factor": [3.0]}
        return SIZES | {"tie_word_embeddings": True, "rope_scaling": scaling, "partial_rotary_factor": 0.5}

    @pytest.fixture
    def format_arguments(self):
        scaling = LONGROPE | {"short_factor": [1.0, 2.0], "long_factor": [3.0, 9.0]}
        return {"kerashub": {"tie_word_embeddings": False, "rope_scaling": scaling, "partial_rotary_factor": 1.0}}
