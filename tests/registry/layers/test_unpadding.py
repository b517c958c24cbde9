"""Unpadding: tokens of a batch without its padding, and back."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vertebra import layers

pytestmark = pytest.mark.keras

MASK = np.array([[1, 1, 0, 0], [0, 1, 1, 1]], "int32")
STATES = np.arange(24, dtype="float32").reshape(2, 4, 3)


def array_of(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_only_tokens_are_computed_and_padding_is_zero():
    unpad, pad = layers.Unpad(), layers.Pad()
    with layers.computing(layers.tokens_of(MASK)):
        tokens = unpad(STATES)
        back = pad(tokens, MASK)
    assert np.array_equal(array_of(tokens), STATES[MASK == 1][None])
    assert np.array_equal(array_of(back), STATES * MASK[:, :, None])


def test_copies_of_the_last_token_fill_a_count():
    with layers.computing(layers.tokens_of(MASK, 8)):
        tokens = layers.unpadded(STATES)
        back = layers.padded(tokens)
    assert tokens.shape == (1, 8, 3)
    assert np.array_equal(array_of(tokens)[0, 5:], STATES[[1, 1, 1], [3, 3, 3]])
    assert np.array_equal(array_of(back)[MASK == 1], STATES[MASK == 1])


@given(arrays.arrays("int32", (3, 5), elements=st.integers(0, 1)), st.integers(0, 3))
def test_tokens_keep_their_order_and_find_their_positions(mask, more):
    if not mask.any():
        return
    tokens = layers.tokens_of(mask, mask.sum() + more)
    assert np.array_equal(tokens.positions[: mask.sum()], np.flatnonzero(mask))
    assert np.array_equal(tokens.positions[tokens.numbers[mask == 1]], np.flatnonzero(mask))
    assert tokens.numbers.min() >= 0


@pytest.mark.parametrize(("mask", "count"), [(np.zeros((2, 3)), None), (MASK, 4)])
def test_a_count_has_all_tokens_and_at_least_one(mask, count):
    with pytest.raises(ValueError, match=r"The batch has [05] tokens, expected from 1 to"):
        layers.tokens_of(mask, count)


def test_without_tokens_all_positions_are_computed():
    assert np.array_equal(array_of(layers.Pad()(layers.Unpad()(STATES), MASK)), STATES)
    with layers.computing(layers.tokens_of(MASK)), layers.computing(None):
        assert layers.unpadded(STATES) is STATES


def test_a_model_tells_whether_it_can_unpad():
    inputs = keras.Input((None, 3))
    with_layer = keras.Model(inputs, layers.Unpad()(inputs))
    assert layers.can_unpad(keras.Model(inputs, with_layer(inputs)))
    assert not layers.can_unpad(keras.Model(inputs, keras.layers.Dense(2)(inputs)))
