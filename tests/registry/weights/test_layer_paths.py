"""Names of weights depend on the layer that holds a layer, not on where or when it was built."""

import keras
import pytest

import vertebra
from vertebra._keras.internals import child_layers
from vertebra._weights.layer_paths import layer_paths, own_weights, weight_names
from vertebra.errors import PresetConfigError

pytestmark = pytest.mark.keras


class Pair(keras.layers.Layer):
    """Two dense layers and a weight of its own."""

    def __init__(self, first="first", second="second", shared=None, **kwargs):
        super().__init__(**kwargs)
        self.first = shared or keras.layers.Dense(2, name=first)
        self.second = keras.layers.Dense(2, name=second)

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(2,))
        for layer in (self.first, self.second):
            if not layer.built:
                layer.build(shape)

    def call(self, x):
        return self.second(self.first(x)) * self.scale


def model_of(*layers, name="model"):
    inputs = x = keras.Input((2,))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x, name=name)


def test_every_weight_is_named_by_the_layers_that_hold_it():
    model = model_of(Pair(name="pair"), keras.layers.Dropout(0.5), keras.layers.Dense(1, name="head"))
    named = weight_names(model)
    assert list(named) == [
        "pair/scale",
        "pair/first/kernel",
        "pair/first/bias",
        "pair/second/kernel",
        "pair/second/bias",
        "head/kernel",
        "head/bias",
    ]
    assert {id(variable) for variable in named.values()} == {id(variable) for variable in model.weights}


def test_names_depend_neither_on_the_models_name_nor_on_the_scope_it_was_built_in(arguments):
    plain = vertebra.models.BertBackbone(**arguments, name="plain")
    with keras.name_scope("other"):
        scoped = vertebra.models.BertBackbone(**arguments, name="scoped")
    assert list(weight_names(plain)) == list(weight_names(scoped))
    assert len(weight_names(plain)) == len(plain.weights)


def test_paths_are_those_of_layers_with_weights():
    inner = Pair(name="inner")
    paths = layer_paths(model_of(model_of(inner, name="body"), keras.layers.Dense(1, name="head"), name="outer"))
    assert list(paths) == ["body", "body/inner", "body/inner/first", "body/inner/second", "head"]
    assert paths["body/inner"] is inner


def test_a_shared_layer_has_the_name_of_the_first_place():
    shared = keras.layers.Dense(2, name="shared")
    model = model_of(Pair(name="one", shared=shared), Pair(name="two", shared=shared))
    assert [path for path in layer_paths(model) if path.endswith("shared")] == ["one/shared"]
    assert len(weight_names(model)) == len(model.weights)


def test_two_layers_of_one_name_in_one_place_cannot_be_told_apart():
    with pytest.raises(PresetConfigError) as caught:
        weight_names(model_of(Pair(first="same", second="same", name="pair")))
    assert "pair/same" in str(caught.value.subject)


def test_own_weights_are_those_not_held_through_another_layer():
    pair = Pair(name="pair")
    pair.build((None, 2))
    assert child_layers(pair) == [pair.first, pair.second]
    assert own_weights(pair) == [pair.scale]
    assert own_weights(pair.first) == [pair.first.kernel, pair.first.bias]
