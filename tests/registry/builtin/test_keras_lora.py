"""Keras's own LoRA: the same variables, initial values and outputs as `enable_lora` of Keras's layers."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra._lora.layers.adapter_layers import build_adapter_layers
from vertebra._lora.layers.linear_view import view_of
from vertebra._lora.plan import AdapterPlan, LayerPlan
from vertebra.errors import LoraConfigError
from vertebra.specs import LoraConfig

pytestmark = pytest.mark.keras

KINDS = ["dense", "einsum_split", "einsum_join", "embedding", "conv2d"]


@pytest.fixture
def pair(single):
    """Returns a layer adapted by Keras, one adapted by Vertebra, both in models, and inputs."""

    def build(kind, rank, alpha=None, **changes):
        theirs, inputs = single(kind, **changes)
        theirs.get_layer("target").enable_lora(rank, lora_alpha=alpha)
        ours, _ = single(kind, **changes)
        vertebra.lora.enable(ours, rank, ["target"], strategy="keras", alpha=alpha)
        return theirs, ours, inputs

    return build


def matrices(model):
    """Returns the variables that Keras's own LoRA has added to a layer."""
    return [variable for variable in model.get_layer("target").weights if "lora_" in variable.name]


@pytest.mark.parametrize("alpha", [None, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_keras_computes_the_same_with_the_same_values(kind, alpha, pair, adapter_layer, call):
    theirs, ours, inputs = pair(kind, 2, alpha)
    draws = np.random.default_rng(0)
    for variable, own in zip(matrices(theirs), (adapter_layer(ours).a, adapter_layer(ours).b), strict=True):
        values = draws.normal(size=variable.shape)
        variable.assign(values)
        own.assign(values.reshape(own.shape))
    np.testing.assert_allclose(call(ours, inputs)[0], call(theirs, inputs)[0], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_parameters_as_keras_adds(kind, pair, adapter_layer):
    theirs, ours, _ = pair(kind, 2)
    assert sum(np.prod(variable.shape) for variable in matrices(theirs)) == sum(
        np.prod(variable.shape) for variable in (adapter_layer(ours).a, adapter_layer(ours).b)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_as_keras_does(kind, pair, adapter_layer):
    """Uniform within the same bounds, and zero."""
    theirs, ours, _ = pair(kind, 5)
    a, b = matrices(theirs)
    spread, own = np.abs(a.numpy()).max(), np.abs(adapter_layer(ours).a.numpy()).max()
    assert own == pytest.approx(spread, rel=0.2)
    assert not b.numpy().any()
    assert not adapter_layer(ours).b.numpy().any()


def test_a_layer_with_more_axes_of_outputs(single, pair, adapter_layer, call):
    shape = {"equation": "abc,cdef->abdef", "output_shape": (None, 2, 3, 4)}
    theirs, ours, inputs = pair("einsum_split", 2, **shape)
    assert adapter_layer(ours).heads == 6
    a, b = matrices(theirs)
    for variable, own in ((a, adapter_layer(ours).a), (b, adapter_layer(ours).b)):
        variable.assign(np.random.default_rng(0).normal(size=variable.shape))
        own.assign(variable.numpy().reshape(own.shape))
    np.testing.assert_allclose(call(ours, inputs)[0], call(theirs, inputs)[0], atol=1e-5)


def test_backbones_go_by_the_heads_of_their_architecture(backbone, adapter_layers):
    backbone.enable_lora(2, ["query", "attention_output"], strategy="keras")
    heads = {path.rpartition("/")[2]: adapter_layer.heads for path, adapter_layer in adapter_layers(backbone).items()}
    assert heads == {"query": 2, "attention_output": 1}


def test_heads_that_do_not_divide_the_outputs_are_refused():
    """A damaged file could have such a value."""
    layer = keras.layers.Dense(5, name="target")
    layer.build((None, 8))
    plan = AdapterPlan(LoraConfig(2, strategy="keras"), {"target": LayerPlan(2, 2.0, heads=3)})
    with pytest.raises(LoraConfigError) as caught:
        build_adapter_layers(plan, {"target": view_of(layer)}, 0)
    assert (caught.value.field, caught.value.value) == ("heads", 3)
