"""Attention: the fused kernel and the one with dropout compute the same, with masks and biases."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra import layers

pytestmark = pytest.mark.keras


@pytest.fixture
def heads():
    """Query, key and value of two rows with five positions, three heads and four dimensions."""
    draws = np.random.default_rng(0)
    return [draws.normal(size=(2, 5, 3, 4)).astype("float32") for _ in range(3)]


def reference(query, key, value, mask=None, bias=None):
    scores = np.einsum("bqhd,bkhd->bhqk", query, key) / 2 + (0 if bias is None else bias)
    scores = scores if mask is None else np.where(mask, scores, -np.inf)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhqk,bkhd->bqhd", scores / scores.sum(-1, keepdims=True), value)


@pytest.mark.parametrize("dropout", [None, lambda probabilities: probabilities], ids=["fused", "dropout"])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_that_of_its_paper(heads, dropout, biased, masked):
    mask = np.array([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1]], "bool")[:, None, None, :] if masked else None
    bias = np.random.default_rng(1).normal(size=(1, 3, 5, 5)).astype("float32") if biased else None
    found = keras.ops.convert_to_numpy(layers.attend(*heads, mask=mask, bias=bias, dropout=dropout))
    assert np.allclose(found, reference(*heads, mask, bias), atol=1e-5)


@pytest.mark.parametrize("dropout", [None, lambda probabilities: probabilities], ids=["fused", "dropout"])
def test_a_row_without_positions_gives_numbers_in_float16(heads, dropout):
    half = [keras.ops.cast(array, "float16") for array in heads]
    bias = np.zeros((1, 3, 5, 5), "float16")
    found = layers.attend(*half, mask=np.zeros((2, 1, 1, 5), "bool"), bias=bias, dropout=dropout)
    assert np.isfinite(keras.ops.convert_to_numpy(found)).all()


def test_a_pooler_needs_a_token():
    assert layers.FirstToken()(np.ones((2, 3, 4), "float32")).shape == (2, 4)
    with pytest.raises(ValueError, match="The sequence has no tokens"):
        layers.FirstToken()(np.ones((2, 0, 4), "float32"))


def test_names_are_listed_and_others_are_an_error():
    assert all(hasattr(layers, name) for name in dir(layers))
    with pytest.raises(AttributeError, match=r"vertebra\.layers.*'Convolution'"):
        _ = layers.Convolution


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_attention_compiles_in_half_precision(dtype):
    # Keras 3.15's own attention raises an error for float16 in compiled functions of JAX on a CPU.
    sizes = {"num_heads": 2, "hidden_dim": 4, "dropout": 0.0, "attention_dropout": None, "initializer_range": 0.02}
    inputs = keras.Input((None, 4), dtype=dtype)
    model = keras.Model(inputs, layers.SelfAttention(sizes, dtype=dtype)(inputs))
    states = keras.ops.cast(np.ones((2, 3, 4)), dtype)
    found, expected = (keras.ops.cast(call(states), "float32") for call in (vertebra.compile(model), model))
    assert np.allclose(keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(expected), atol=1e-3)
