"""DoRA: compared with the paper's equations in numpy, gradients included."""

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture
def adapted(single, adapter_layer, disturb):
    """A dense layer without activation, its inputs, and as arrays: kernel, bias, a, b, lengths and scale."""
    model, inputs = single("dense", activation=None)
    vertebra.lora.enable(model, 2, ["target"], alpha=3, strategy="dora", seed=1)
    disturb(model)
    layer, own = model.get_layer("target"), adapter_layer(model)
    arrays = [variable.numpy() for variable in (layer.kernel, layer.bias, own.a, own.b, own.magnitude)]
    return model, inputs, (*arrays, own.scale)


@pytest.mark.parametrize("kind", ["dense", "einsum_split", "embedding", "conv2d"])
def test_lengths_start_from_those_of_the_kernels_columns(kind, single, adapter_layer):
    model, _ = single(kind)
    vertebra.lora.enable(model, 2, ["target"], strategy="dora")
    kernel = model.get_layer("target").weights[0].numpy()
    outputs = 2 if kind == "einsum_split" else 1
    columns = kernel.reshape(int(np.prod(kernel.shape[:-outputs])), -1)
    np.testing.assert_allclose(adapter_layer(model).magnitude.numpy(), np.linalg.norm(columns, axis=0), rtol=1e-6)


def test_it_computes_the_papers_equation(adapted, call):
    model, inputs, (kernel, bias, a, b, lengths, scale) = adapted
    direction = kernel + scale * a @ b
    expected = inputs @ (direction * lengths / np.linalg.norm(direction, axis=0)) + bias
    np.testing.assert_allclose(call(model, inputs)[0], expected, atol=1e-5)


def test_a_step_of_gradient_descent_takes_the_norm_for_a_constant(adapted, adapter_layer):
    model, inputs, (kernel, bias, a, b, lengths, scale) = adapted
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    model.fit(inputs, np.zeros((*inputs.shape[:-1], 5), "float32"), batch_size=len(inputs), verbose=0)
    x = inputs.reshape(-1, 8)
    direction = kernel + scale * a @ b
    norm = np.linalg.norm(direction, axis=0)
    outputs = x @ direction * lengths / norm + bias
    gradient = 2 * outputs / outputs.size
    ratio = gradient * lengths / norm
    own = adapter_layer(model)
    np.testing.assert_allclose(
        lengths - own.magnitude.numpy(), 0.1 * (gradient * (x @ direction) / norm).sum(0), atol=1e-6
    )
    np.testing.assert_allclose(b - own.b.numpy(), 0.1 * scale * (x @ a).T @ ratio, atol=1e-6)
    np.testing.assert_allclose(a - own.a.numpy(), 0.1 * scale * x.T @ (ratio @ b.T), atol=1e-6)


def test_a_column_of_zeros_stays_one(single, call):
    model, inputs = single("dense", activation=None)
    layer = model.get_layer("target")
    layer.kernel.assign(layer.kernel.numpy() * np.array([1, 0, 1, 1, 1], "float32"))
    before, _ = call(model, inputs)
    vertebra.lora.enable(model, 2, ["target"], strategy="dora")
    assert np.array_equal(call(model, inputs)[0], before)
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    model.fit(inputs, before + 1, verbose=0)
    assert np.isfinite(call(model, inputs)[0]).all()


def test_the_way_a_kernel_lies_in_memory_changes_no_bit(golden, run, tmp_path):
    """transformers stores kernels in column-major order, and native presets in row-major order."""
    outputs = []
    for preset in (golden / "transformers", tmp_path / "preset"):
        backbone = vertebra.Backbone.from_preset(preset)
        if not outputs:
            backbone.save_to_preset(tmp_path / "preset")
        backbone.enable_lora(2, strategy="dora", seed=0)
        outputs.append({path: variable.numpy() for path, variable in lengths(backbone)})
    first, second = outputs
    assert len(first) == 4
    assert all(np.array_equal(first[path], second[path]) for path in first)


def lengths(model):
    return [(variable.path, variable) for variable in model.trainable_weights if variable.name == "magnitude"]


def test_it_is_no_product_of_two_matrices_and_no_lora_h5(backbone, tmp_path):
    backbone.enable_lora(2, strategy="dora")
    with pytest.raises(vertebra.errors.LoraConfigError, match="merge this adapter instead"):
        backbone.save_lora_weights(tmp_path / "adapter.lora.h5")
    assert not list(tmp_path.iterdir())


def test_with_the_scale_of_rslora_it_computes_what_dora_does_at_that_scale(single, call, disturb):
    outputs = []
    for strategy, alpha in (("rsdora", 2), ("dora", 4)):
        model, inputs = single("dense")
        vertebra.lora.enable(model, 4, ["target"], alpha=alpha, strategy=strategy, seed=0)
        disturb(model)
        outputs.append(call(model, inputs)[0])
    assert np.array_equal(*outputs)
