"""OFT: kernels are rotated in blocks, which keeps lengths and angles; PEFT's series and its constrained form."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra.errors import LoraConfigError

pytestmark = pytest.mark.keras


def rotation(own):
    """Returns the block-diagonal matrix of a layer, from its angles, in numpy."""
    angles, block = own.angles.numpy().astype("float64"), own.rank
    blocks = []
    for row in angles if len(angles) > 1 else angles.repeat(own.view.in_features // block, axis=0):
        q = np.zeros((block, block))
        q[np.triu_indices(block, 1)] = row
        q = q - q.T
        if own.options["use_cayley_neumann"]:
            blocks.append(np.eye(block) + 2 * q + 2 * q @ q + 2 * q @ q @ q + q @ q @ q @ q)
        else:
            blocks.append((np.eye(block) - q) @ np.linalg.inv(np.eye(block) + q))
    return keras.ops.convert_to_numpy(_diagonal(blocks))


def _diagonal(blocks):
    size = len(blocks[0])
    matrix = np.zeros((len(blocks) * size,) * 2)
    for number, block in enumerate(blocks):
        matrix[number * size : (number + 1) * size, number * size : (number + 1) * size] = block
    return matrix


@pytest.mark.parametrize("rank", [2, 4, 8])
@pytest.mark.parametrize("options", [{}, {"use_cayley_neumann": False}, {"block_share": True}], ids=str)
def test_it_rotates_the_inputs(rank, options, single, adapter_layer, call, disturb):
    model, inputs = single("dense", activation=None)
    layer = model.get_layer("target")
    vertebra.lora.enable(model, rank, ["target"], strategy="oft", **options)
    disturb(model)
    turn = rotation(adapter_layer(model))
    expected = inputs @ turn @ layer.kernel.numpy() + layer.bias.numpy()
    np.testing.assert_allclose(call(model, inputs)[0], expected, atol=2e-5)
    if options.get("use_cayley_neumann", True) is False:
        np.testing.assert_allclose(turn @ turn.T, np.eye(8), atol=1e-6)


def test_the_constrained_form_stays_near_the_identity_while_training(single, adapter_layer):
    model, inputs = single("dense", activation=None)
    vertebra.lora.enable(model, 4, ["target"], strategy="oft", coft=True, eps=0.01)
    model.compile(keras.optimizers.SGD(10.0), "mse")
    model.fit(inputs, np.ones((*inputs.shape[:-1], 5), "float32"), verbose=0, epochs=3)
    norms = np.sqrt(2 * np.square(adapter_layer(model).angles.numpy()).sum(axis=1))
    assert np.all(norms <= 0.01 / np.sqrt(2) * 1.001)
    assert norms.max() > 0.001


def test_a_size_that_does_not_divide_is_the_nearest_divisor(single, adapter_layer, caplog):
    model, _ = single("dense")
    vertebra.lora.enable(model, 7, ["target"], strategy="oft")
    assert tuple(adapter_layer(model).angles.shape) == (1, 28)
    assert "nearest divisor, 8" in caplog.text


@pytest.mark.keras(once=True)
def test_a_block_of_one_number_cannot_be_rotated(single):
    model, _ = single("dense")
    with pytest.raises(LoraConfigError, match="at least 2"):
        vertebra.lora.enable(model, 1, ["target"], strategy="oft")


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"oft_block_size": ...}, "oft_block_size"),
        ({"use_cayley_neumann": ...}, "use_cayley_neumann"),
        ({"peft_version": "0.17.1"}, "peft_version"),
        ({"peft_version": ...}, "peft_version"),
        ({"coft": "yes"}, "coft"),
        ({"oft_dropout": 0.1}, "oft_dropout"),
    ],
    ids=str,
)
def test_rotations_of_earlier_peft_are_refused_by_field(changes, field, backbone, disturb, edit_config, tmp_path):
    backbone.enable_lora(4, ["query"], strategy="oft")
    disturb(backbone)
    backbone.save_lora_weights(tmp_path / "adapter")
    backbone.unload_lora()
    edit_config(tmp_path / "adapter", changes)
    with pytest.raises(LoraConfigError) as caught:
        backbone.load_lora_weights(tmp_path / "adapter")
    assert caught.value.field == field
    assert backbone.lora_adapters == {}
