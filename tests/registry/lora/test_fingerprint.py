"""Fingerprints: a base has the same fingerprint however it is loaded; another base has another."""

import numpy as np
import pytest

import vertebra
from vertebra._lora.fingerprint import fingerprint
from vertebra._lora.layers.linear_view import view_of
from vertebra._lora.targets import find_targets

pytestmark = pytest.mark.keras

REFERENCE = "bd922c99517886468ca854a4e4aca5772bb4f0054bd7e8d02af237af7bd5fd76"


def of(backbone, *targets):
    """Returns the fingerprint that an adapter on some layers would have."""
    layers = find_targets(backbone, targets or backbone.lora_targets, backbone.lora_roles)
    return fingerprint({path: view_of(layer) for path, layer in layers.items()})


def test_the_fingerprint_of_the_reference_never_changes(backbone):
    # Saved adapters are checked against it, on every runtime and in every later version.
    assert of(backbone) == REFERENCE


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_the_precision_in_which_a_base_is_loaded_does_not_matter(golden, backbone, dtype):
    assert of(vertebra.Backbone.from_preset(golden / "transformers", dtype=dtype)) == of(backbone)


def test_the_same_weights_stored_in_half_precision_are_the_same_base(golden, backbone):
    assert of(vertebra.Backbone.from_preset(golden / "transformers_bf16")) == of(backbone)


def test_an_adapter_and_its_training_do_not_matter(backbone, fill):
    before = of(backbone)
    backbone.enable_lora(2)
    fill(backbone)
    assert of(backbone) == before


def test_the_order_of_targets_does_not_matter_and_their_choice_does(backbone):
    assert of(backbone, "query", "value") == of(backbone, "value", "query")
    assert len({of(backbone), of(backbone, "query"), of(backbone, "query", "key")}) == 3


def test_other_weights_are_another_base(golden, backbone):
    before = of(backbone)
    assert of(vertebra.Backbone.from_preset(golden / "transformers", load_weights=False)) != before
    kernel = backbone.get_layer("transformer_layer_1").attention.value.kernel
    changed = kernel.numpy().copy()
    changed[15, 15] += 0.1
    kernel.assign(changed)
    assert of(backbone) != before


def test_large_kernels_are_sampled_throughout(toy_class):
    toy = toy_class(vocabulary_size=40_000)
    before = of(toy, "token_embedding")
    table = toy.token_embedding.embeddings
    for part in (slice(0, 100), slice(20_000, 20_100), slice(-100, None)):
        values = table.numpy().copy()
        values[part] += np.float32(0.5)
        table.assign(values)
        assert of(toy, "token_embedding") != before
        before = of(toy, "token_embedding")
