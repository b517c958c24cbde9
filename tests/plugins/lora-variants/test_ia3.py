"""IA3: compared with the paper's formula in numpy; merging changes kernels and biases; layers may be feed-forward."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra.errors import LoraConfigError, LoraStateError

pytestmark = pytest.mark.keras


def test_it_multiplies_outputs_with_their_bias(single, adapter_layer, call, disturb):
    model, inputs = single("dense", activation=None)
    before, _ = call(model, inputs)
    vertebra.lora.enable(model, target_names=["target"], strategy="ia3")
    disturb(model)
    np.testing.assert_allclose(call(model, inputs)[0], before * adapter_layer(model).vector.numpy(), atol=1e-6)


def test_a_feedforward_layer_multiplies_its_inputs(single, adapter_layer, call, disturb):
    model, inputs = single("dense", activation=None)
    layer = model.get_layer("target")
    vertebra.lora.enable(model, target_names=["target"], strategy="ia3", feedforward=True)
    disturb(model)
    vector = adapter_layer(model).vector.numpy()
    assert vector.shape == (8, 1)
    expected = (inputs * vector[:, 0]) @ layer.kernel.numpy() + layer.bias.numpy()
    np.testing.assert_allclose(call(model, inputs)[0], expected, atol=1e-5)


@pytest.mark.parametrize("equation", ["abc,cde->abde", "abc,ced->abde"])
def test_merging_changes_the_bias_whatever_its_axes(equation, single, call, disturb):
    model, inputs = single("einsum_split", equation=equation, bias_axes="de")
    layer = model.get_layer("target")
    bias = layer.bias.numpy()
    vertebra.lora.enable(model, target_names=["target"], strategy="ia3")
    disturb(model)
    adapted, _ = call(model, inputs)
    vertebra.lora.merge(model)
    assert not np.allclose(layer.bias.numpy(), bias)
    np.testing.assert_allclose(call(model, inputs)[0], adapted, atol=1e-5)
    vertebra.lora.unmerge(model)
    assert np.array_equal(layer.bias.numpy(), bias)


def test_a_bias_that_outputs_share_is_not_merged(single, call, disturb):
    model, inputs = single("einsum_split", bias_axes="e")
    vertebra.lora.enable(model, target_names=["target"], strategy="ia3")
    disturb(model)
    adapted, _ = call(model, inputs)
    with pytest.raises(LoraStateError, match="share its bias"):
        vertebra.lora.merge(model)
    assert np.array_equal(call(model, inputs)[0], adapted)


def test_weights_files_have_the_merged_bias_and_the_base(backbone, golden, run, disturb, tmp_path):
    backbone.enable_lora(target_names=["value", "mlp"], strategy="ia3", feedforward={"mlp.down": True}, bias="lora")
    disturb(backbone)
    expected = run(backbone)["sequence_output"]
    backbone.save_weights(tmp_path / "model.weights.h5")
    plain = vertebra.Backbone.from_preset(golden / "transformers")
    plain.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(run(plain)["sequence_output"], expected, atol=1e-5)
    backbone.load_weights(tmp_path / "model.weights.h5")
    assert np.array_equal(run(backbone)["sequence_output"], expected)
    np.testing.assert_allclose(run(backbone.merged_copy())["sequence_output"], expected, atol=1e-5)


def test_an_option_may_differ_by_layer_and_comes_back(backbone, golden, run, disturb, tmp_path, adapter_layers):
    backbone.enable_lora(target_names=["value", "mlp"], strategy="ia3", feedforward={"mlp.down": True})
    shapes = {tuple(layer.vector.shape) for layer in adapter_layers(backbone).values()}
    assert shapes == {(1, 16), (1, 32), (32, 1)}  # value, up and down
    disturb(backbone)
    expected = run(backbone)["sequence_output"]
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    fresh = vertebra.Backbone.from_preset(golden / "transformers")
    fresh.load_lora_weights(tmp_path / "adapter.safetensors")
    assert np.array_equal(run(fresh)["sequence_output"], expected)


def test_it_has_no_rank_and_says_so_in_the_receipt(single):
    model, _ = single("dense")
    assert str(vertebra.lora.enable(model, 4, ["target"], strategy="ia3")).startswith("ia3, on 1 layers: 5 parameters")


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("kind", ["embedding", "conv1d"])
def test_lookups_and_convolutions_have_no_feedforward(kind, single):
    model, _ = single(kind)
    with pytest.raises(LoraConfigError, match="lookups and convolutions"):
        vertebra.lora.enable(model, 1, ["target"], strategy="ia3", feedforward=True)


def test_only_the_vector_trains(single):
    model, inputs = single("dense")
    vertebra.lora.enable(model, target_names=["target"], strategy="ia3")
    kept = [variable.numpy() for variable in model.get_layer("target").weights[:2]]
    (vector,) = model.trainable_weights
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(inputs, np.ones((*inputs.shape[:-1], 5), "float32"), verbose=0)
    assert not np.allclose(vector.numpy(), 1)
    assert all(
        np.array_equal(variable.numpy(), value)
        for variable, value in zip(model.get_layer("target").weights[:2], kept, strict=True)
    )


# === Mixing ===


@pytest.fixture
def two(single, disturb):
    """A model with two IA3 adapters of one layer."""
    model, inputs = single("dense", activation=None)
    for name, seed in (("one", 1), ("two", 2)):
        vertebra.lora.enable(model, target_names=["target"], strategy="ia3", name=name)
        disturb(model, seed)
    return model, inputs


@pytest.mark.parametrize("mix", [{"one": 0.5}, {"one": 1.0, "two": 1.0}, {"two": -1.0}])
def test_changes_that_are_no_sums_are_not_mixed(mix, two):
    model, _ = two
    with pytest.raises(LoraStateError, match="cannot be weighted or added"):
        vertebra.lora.activate(model, mix)
    with pytest.raises(LoraStateError, match="cannot be weighted or added"), vertebra.lora.rows(model, mix):
        pass


def test_each_row_may_have_one(two, call):
    model, inputs = two
    expected = []
    for name in ("one", "two"):
        vertebra.lora.activate(model, name)
        expected.append(call(model, inputs)[0])
    vertebra.lora.disable(model)
    base, _ = call(model, inputs)
    with vertebra.lora.rows(model, ["one", None, "two", "one"]):
        rows, _ = call(model, inputs)
    for row, of in enumerate((expected[0], base, expected[1], expected[0])):
        np.testing.assert_allclose(rows[row], of[row], atol=1e-6)


def test_it_mixes_with_lora_on_other_layers(backbone, disturb):
    backbone.enable_lora(2, ["query"], name="lora")
    disturb(backbone)
    backbone.enable_lora(target_names=["value"], strategy="ia3", name="ia3")
    backbone.activate_lora({"lora": 0.5, "ia3": 1.0})
    with pytest.raises(LoraStateError, match="a strength of 2"):
        backbone.activate_lora({"lora": 0.5, "ia3": 2.0})
