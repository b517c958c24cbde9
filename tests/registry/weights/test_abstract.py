"""Abstract build: variables have shapes without values, and Keras's own state is restored afterwards."""

import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import in_stateless_scope

from vertebra._keras.internals import give_value
from vertebra._weights.abstract import abstract_build, finish, initialize

pytestmark = pytest.mark.keras


def pending():
    return global_state.get_global_attribute("uninitialized_variables") or []


def dense():
    layer = keras.layers.Dense(3)
    layer.build((None, 2))
    return layer


def test_what_is_built_inside_has_shapes_and_no_values():
    with abstract_build() as created:
        inputs = keras.Input((2,))
        model = keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.Dense(3)(inputs)))
    assert [variable._value for variable in created] == [None] * 3  # kernel, bias, and the seed of the dropout
    assert [tuple(variable.shape) for variable in model.weights] == [(2, 3), (3,)]
    assert {id(variable) for variable in model.variables} == {id(variable) for variable in created}


def test_no_initialiser_runs():
    def refuse(shape, dtype=None):
        raise AssertionError("ran")

    with abstract_build():
        layer = keras.layers.Dense(3, kernel_initializer=refuse)
        layer.build((None, 2))
    assert tuple(layer.kernel.shape) == (2, 3)


def test_keras_initialises_as_usual_afterwards():
    with abstract_build() as created:
        abstract = dense()
    assert created == [abstract.kernel, abstract.bias]
    assert pending() == []
    assert dense().kernel.numpy().any()
    assert abstract.kernel._value is None


def test_an_error_inside_leaves_keras_as_it_was():
    with pytest.raises(ZeroDivisionError), abstract_build():
        dense().kernel.assign(1 / 0)
    assert pending() == []
    assert not in_stateless_scope()


def test_what_waits_for_a_value_outside_still_waits():
    with keras.StatelessScope(initialize_variables=False):
        waiting = dense()
        with abstract_build() as created:
            inner = dense()
        assert pending() == [waiting.kernel, waiting.bias]
    assert created == [inner.kernel, inner.bias]
    initialize(pending())
    global_state.set_global_attribute("uninitialized_variables", [])
    assert waiting.kernel.numpy().any()


def test_initialize_fills_what_was_not_given_a_value():
    with abstract_build() as created:
        layer = dense()
    given = np.full((2, 3), 7, "float32")
    give_value(layer.kernel, keras.ops.convert_to_tensor(given))
    initialize(created)
    finish(layer)
    assert np.array_equal(layer.kernel.numpy(), given)
    assert np.array_equal(layer.bias.numpy(), np.zeros(3))
    assert np.array_equal(keras.ops.convert_to_numpy(layer(np.ones((1, 2)))), [[14, 14, 14]])


def test_a_given_value_trains_or_not_as_the_variable_says():
    with abstract_build():
        layer = dense()
        layer.trainable = False
    give_value(layer.kernel, keras.ops.ones((2, 3)))
    assert not layer.kernel.trainable
    assert not getattr(layer.kernel.value, "requires_grad", False)
    layer.trainable = True
    assert getattr(layer.kernel.value, "requires_grad", True)
