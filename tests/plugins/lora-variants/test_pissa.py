"""PiSSA: starts from the kernel's largest singular vectors, as numpy's full decomposition finds them."""

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture
def decaying():
    """A dense layer of 60 × 40 whose singular values are 1, 0.8, 0.64 and so on, and its kernel."""
    given = keras.Input((60,))
    model = keras.Model(given, keras.layers.Dense(40, name="target")(given))
    draws = np.random.default_rng(0)
    left, right = (np.linalg.qr(draws.normal(size=(size, 40)))[0] for size in (60, 40))
    kernel = (left * 0.8 ** np.arange(40) @ right.T).astype("float32")
    model.get_layer("target").kernel.assign(kernel)
    return model, kernel


def start(model, adapter_layer, rank=4, **settings):
    """Enables PiSSA; returns a and b as arrays, and the scale."""
    vertebra.lora.enable(model, rank, ["target"], strategy="pissa", **settings)
    own = adapter_layer(model)
    return own.a.numpy(), own.b.numpy(), own.scale


@pytest.mark.parametrize(("rank", "alpha"), [(1, None), (4, None), (4, 12), (40, None)])
def test_it_starts_from_the_largest_singular_vectors(rank, alpha, decaying, adapter_layer):
    model, kernel = decaying
    u, s, v = np.linalg.svd(kernel)
    a, b, scale = start(model, adapter_layer, rank, alpha=alpha)
    root = np.sqrt(s[:rank] / scale)
    np.testing.assert_allclose(np.abs((a / root * u[:, :rank]).sum(0)), 1, atol=1e-3)
    np.testing.assert_allclose(np.abs((b / root[:, None] * v[:rank]).sum(1)), 1, atol=1e-3)
    np.testing.assert_allclose(scale * a @ b, (u[:, :rank] * s[:rank]) @ v[:rank], atol=1e-3)


def test_both_matrices_have_the_roots_of_the_singular_values(decaying, adapter_layer):
    model, kernel = decaying
    a, b, scale = start(model, adapter_layer, alpha=8)
    expected = np.linalg.svd(kernel)[1][:4] / scale
    np.testing.assert_allclose(np.square(a).sum(0), expected, rtol=1e-3)
    np.testing.assert_allclose(np.square(b).sum(1), expected, rtol=1e-3)


def test_more_iterations_come_closer(decaying, adapter_layer):
    model, kernel = decaying
    u, s, v = np.linalg.svd(kernel)
    best, errors = (u[:, :4] * s[:4]) @ v[:4], []
    for iterations in (0, 1, 8):
        a, b, _ = start(model, adapter_layer, seed=0, iterations=iterations)
        errors.append(np.abs(a @ b - best).max())
        vertebra.lora.unload(model)
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6


def test_what_it_started_from_is_kept_while_it_trains(decaying, adapter_layer):
    """The two initial values are separate variables, not one shared array."""
    model, _ = decaying
    a, b, _ = start(model, adapter_layer)
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    model.fit(np.random.default_rng(0).normal(size=(4, 60)), np.zeros((4, 40)), verbose=0)
    own = adapter_layer(model)
    assert np.array_equal(own.a0.numpy(), a)
    assert np.array_equal(own.b0.numpy(), b)
    assert np.abs(own.a.numpy() - a).max() > 1e-4
    assert {variable.name for variable in model.trainable_weights} == {"a", "b"}


def test_it_computes_the_papers_residual_and_its_path(decaying, adapter_layer, call):
    model, kernel = decaying
    a0, b0, scale = start(model, adapter_layer, alpha=8)
    draws = np.random.default_rng(1)
    a, b, inputs = draws.normal(size=a0.shape), draws.normal(size=b0.shape), draws.normal(size=(3, 60))
    adapter_layer(model).a.assign(a)
    adapter_layer(model).b.assign(b)
    expected = inputs @ (kernel - scale * a0 @ b0) + scale * inputs @ a @ b
    np.testing.assert_allclose(call(model, inputs.astype("float32"))[0], expected, atol=1e-4)


def test_a_kernel_of_zeros_has_a_start(single, adapter_layer):
    model, _ = single("dense")
    model.get_layer("target").kernel.assign(np.zeros((8, 5)))
    a, b, _ = start(model, adapter_layer, 2)
    assert not a.any()
    assert not b.any()
