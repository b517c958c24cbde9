"""Dropout: drawn by the fastest method of the runtime, with the same properties on all runtimes."""

import keras
import numpy as np
import pytest

from vertebra import layers

pytestmark = pytest.mark.keras

ONES = np.ones((64, 33, 31), "float32")  # an odd number of elements


def dropped(layer, inputs=ONES):
    return keras.ops.convert_to_numpy(layer(inputs, training=True))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_share_is_dropped_and_the_rest_is_scaled_to_the_same_mean(rate):
    found = dropped(layers.Dropout(rate))
    assert np.allclose(np.unique(found), [0, 1 / (1 - rate)], rtol=1e-4)
    spread = (rate * (1 - rate) / ONES.size) ** 0.5
    assert abs((found == 0).mean() - rate) <= 5 * spread
    assert abs(found.mean() - 1) <= 5 * spread / (1 - rate)


def test_neighbours_are_dropped_independently_of_each_other():
    """Several choices are cut from one draw; none may follow from another."""
    kept = (dropped(layers.Dropout(0.5), np.ones((100_000,), "float32")) > 0).astype("float64") - 0.5
    for lag in range(1, 9):
        assert abs((kept[lag:] * kept[:-lag]).mean() * 4) <= 5 / kept.size**0.5
    for position in range(4):
        assert abs(kept[position::4].mean() * 2) <= 5 / (kept.size / 4) ** 0.5


def test_each_call_drops_others_and_the_same_after_the_seed_is_set():
    layer = layers.Dropout(0.5)
    assert not np.array_equal(dropped(layer), dropped(layer))
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        found.append(dropped(layers.Dropout(0.5)))
    assert np.array_equal(*found)


def test_the_gradient_is_that_of_what_was_kept(runtime):
    values = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
    layer = layers.Dropout(0.3)
    if runtime == "torch":
        import torch

        inputs = torch.tensor(values, requires_grad=True)
        outputs = layer(inputs, training=True)
        outputs.sum().backward()
        outputs, gradient = outputs.detach().numpy(), inputs.grad.numpy()
    else:
        import jax

        def total(inputs):
            outputs = layer(inputs, training=True)
            return outputs.sum(), outputs

        gradient, outputs = jax.grad(total, has_aux=True)(values)
    assert np.allclose(np.asarray(outputs), values * np.asarray(gradient), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays(dtype):
    outputs = layers.Dropout(0.5, dtype=dtype)(keras.ops.cast(ONES, dtype), training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype


def test_nothing_is_dropped_outside_of_training_or_at_a_rate_of_zero():
    assert np.array_equal(keras.ops.convert_to_numpy(layers.Dropout(0.5)(ONES)), ONES)
    assert np.array_equal(dropped(layers.Dropout(0.0)), ONES)
    assert np.array_equal(dropped(layers.Dropout(1.0)), 0 * ONES)


def test_with_a_seed_it_is_keras_s():
    assert np.array_equal(dropped(layers.Dropout(0.5, seed=3)), dropped(keras.layers.Dropout(0.5, seed=3)))
    found = dropped(layers.Dropout(0.5, noise_shape=(64, 1, 31)))
    assert np.array_equal(found, np.broadcast_to(found[:, :1], found.shape))
