"""The planned activations are the tensors that torch keeps for the gradients, within a tenth."""

import math

import pytest

from vertebra import models
from vertebra._discovery.catalog import BACKBONES, catalog
from vertebra._placement.placing import Layout, place_weights
from vertebra._presets.plans.activations import Tokens, activation_bytes
from vertebra._presets.plans.weights import rules_of
from vertebra._weights.layer_paths import weight_names

pytestmark = pytest.mark.keras

ROWS, LENGTH = 2, 64
BERT = {"vocabulary_size": 32, "num_layers": 2, "num_heads": 4, "hidden_dim": 128, "intermediate_dim": 512}
DECODER = {
    "vocabulary_size": 32,
    "num_layers": 2,
    "num_query_heads": 8,
    "num_key_value_heads": 2,
    "hidden_dim": 128,
    "intermediate_dim": 384,
}
MODELS = {
    "BertBackbone": BERT | {"dropout": 0.0},
    "GPT2Backbone": BERT | {"dropout": 0.0},
    "GemmaBackbone": DECODER | {"head_dim": 16},
    "LlamaBackbone": DECODER,
    "Qwen3Backbone": DECODER | {"head_dim": 16},
}


def kept_bytes(backbone):
    """Returns the bytes of the tensors that a call keeps, without weights and masks."""
    import torch

    storages = {}
    weights = {weight.value.untyped_storage().data_ptr() for weight in weight_names(backbone).values()}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights and tensor.shape[-2:] != (LENGTH, LENGTH):
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = backbone({name: torch.ones((ROWS, LENGTH), dtype=torch.int32) for name in backbone.input})
    assert outputs is not None
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_a_backbone_keeps_what_is_planned(name, dtype, runtime):
    if runtime != "torch":
        pytest.skip("JAX compiles the gradients, and does not tell which tensors it keeps")
    backbone = getattr(models, name)(**MODELS[name], dtype=dtype)
    shapes = {name: tuple(weight.shape) for name, weight in weight_names(backbone).items()}
    layout = catalog(BACKBONES).lookup(name).value.layout
    placement = place_weights(shapes, (), Layout(name, layout, backbone.constructor_config()))
    tokens = Tokens(ROWS, LENGTH, 4 if dtype == "float32" else 2)
    planned = activation_bytes(placement, rules_of(shapes, layout), tokens, has_logits=False)
    assert math.isclose(planned, kept_bytes(backbone), rel_tol=0.1)
