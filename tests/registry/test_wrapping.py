"""Names of layers and weights of models that another library made."""

import h5py
import keras
import numpy as np
import pytest

from vertebra import wrapping
from vertebra._weights.layer_paths import weight_names

pytestmark = pytest.mark.keras(once=True)


class Block(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [keras.layers.Dense(4), keras.layers.Dense(4, name="dense_1"), keras.layers.Dense(4)]
        self.twins = [keras.layers.Dense(4, name="twin"), keras.layers.Dense(4, name="twin")]

    def build(self, shape):
        for layer in (*self.parts, *self.twins):
            layer.build(shape)

    def call(self, x):
        for layer in (*self.parts, *self.twins):
            x = layer(x)
        return x


def build():
    inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization()(Block()(inputs))
    return keras.Model(inputs, Block()(x))


def test_names_depend_on_the_structure_alone():
    first, second = build(), build()
    wrapping.name_layers(first)
    wrapping.name_layers(second)
    assert weight_names(first).keys() == weight_names(second).keys()
    assert {name.rpartition("/")[0] for name in weight_names(first) if name.startswith("block/")} == {
        "block/dense",
        "block/dense_1",
        "block/dense_2",
        "block/twin",
        "block/twin_1",
    }


class Lists(keras.layers.Layer):
    """A layer whose properties make lists, each of which may have the address of the last one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.held = tuple(keras.layers.Dense(4) for _ in range(8))

    def build(self, shape):
        for layer in self.held:
            layer.build(shape)

    call = Block.call
    parts = twins = property(lambda self: list(self.held))
    first = property(lambda self: [[layer] for layer in self.held[:4]])
    second = property(lambda self: [[layer] for layer in self.held[4:]])


def test_lists_that_properties_make_are_not_taken_for_each_other():
    inputs = keras.Input((4,))
    rules = wrapping.weight_rules(lambda: keras.Model(inputs, Lists()(inputs)))
    assert len(rules) == 16


def test_rules_are_the_names_in_keras_s_files(tmp_path):
    def named():
        model = build()
        wrapping.name_layers(model)
        return model

    model = named()
    for number, variable in enumerate(model.weights):
        variable.assign(np.full(variable.shape, float(number)))
    model.save_weights(tmp_path / "model.weights.h5")
    rules = wrapping.weight_rules(named)
    weights = weight_names(model)
    assert rules.keys() == weights.keys()
    with h5py.File(tmp_path / "model.weights.h5") as file:
        for name, variable in weights.items():
            np.testing.assert_array_equal(file[rules[name].tensor][()], variable.numpy())
