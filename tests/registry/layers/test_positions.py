"""Embeddings of positions: counted from the start, or without padding."""

import keras
import numpy as np
import pytest

from vertebra import layers

pytestmark = pytest.mark.keras


def test_positions_count_from_the_start():
    layer = layers.PositionEmbedding(5, 4)
    found = keras.ops.convert_to_numpy(layer(np.zeros((2, 3, 4), "float32")))
    assert np.array_equal(found, np.broadcast_to(layer.embeddings.numpy()[:3], (2, 3, 4)))


@pytest.mark.parametrize("padding", [0, 1, 4])
def test_positions_without_padding(padding):
    layer = layers.TokenPositionEmbedding(6, 4, padding)
    tokens = np.array([[7, 8, 9, padding], [padding, 7, padding, 8]], "int32")
    rows = padding + np.array([[1, 2, 3, 0], [0, 1, 0, 2]])
    found = keras.ops.convert_to_numpy(layer(tokens))
    assert layer.embeddings.shape == (6 + padding + 1, 4)
    assert np.array_equal(found, layer.embeddings.numpy()[rows])
    assert np.array_equal(keras.ops.convert_to_numpy(layer.lookup_indices(tokens)), rows)


@pytest.mark.parametrize(
    "make", [lambda: layers.PositionEmbedding(3, 2), lambda: layers.TokenPositionEmbedding(3, 2, 1)]
)
def test_a_longer_sequence_is_an_error(make):
    layer = make()
    inputs = np.ones((1, 4, 2), "float32") if type(layer) is layers.PositionEmbedding else np.ones((1, 4), "int32")
    with pytest.raises(ValueError, match="4 tokens; this backbone has 3 positions"):
        layer(inputs)


def test_layers_come_back_from_their_config():
    for layer in (
        layers.PositionEmbedding(3, 2),
        layers.TokenPositionEmbedding(3, 2, 1),
        layers.RotaryEmbedding(4, 9.0),
    ):
        again = keras.layers.deserialize(keras.layers.serialize(layer))
        assert again.get_config() == layer.get_config()


def test_rotations_keep_lengths_and_turn_by_the_position():
    rotation = layers.RotaryEmbedding(4, 10_000.0)(np.zeros((1, 3), "int32"))
    ones = np.ones((1, 3, 1, 4), "float32")
    found = keras.ops.convert_to_numpy(layers.rotate(ones, rotation))
    assert np.allclose(np.linalg.norm(found, axis=-1), 2)
    assert np.allclose(found[0, 0, 0], 1)
    cos, sin = np.cos([1, 0.01]), np.sin([1, 0.01])  # the wavelengths of four dimensions at position 1
    assert np.allclose(found[0, 1, 0], [*(cos - sin), *(cos + sin)], atol=1e-6)
