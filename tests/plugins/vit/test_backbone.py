"""Image encoders: inputs without tokens, images of any size, hidden states by layer, adapters and files."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

import vertebra
from vertebra.errors import LoraConfigError

pytestmark = pytest.mark.keras

each = pytest.mark.parametrize("name", ["vit", "vit without class token", "dinov2", "registers"])
once = pytest.mark.keras(once=True)


def test_images_are_passed_as_they_are_or_by_name(make, images, states):
    backbone = make("vit")
    expected = states(backbone, images())
    nested = images().tolist()
    calls = [backbone(nested), backbone({"images": nested}), backbone({"images": images()}), backbone(images=images())]
    for outputs in (*calls, backbone(inputs=images())):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(outputs["sequence_output"]), expected)
    np.testing.assert_allclose(backbone.predict(images(), verbose=0)["sequence_output"], expected, atol=1e-5)


@once
def test_other_inputs_are_refused_by_name(make, images):
    backbone = make("vit")
    with pytest.raises(ValueError, match="has no input 'image'; did you mean 'images'"):
        backbone({"image": images()})
    with pytest.raises(ValueError, match="lacks its input 'images'"):
        backbone({})
    with pytest.raises(TypeError, match="no argument 'pixel_values'; it takes inputs"):
        backbone(pixel_values=images())
    with pytest.raises(ValueError, match=r"have \(12, 3\) pixels, expected at least one patch of \(4, 4\)"):
        backbone(images(12, 3))


@each
@pytest.mark.parametrize("size", [(12, 12), (20, 8)])
def test_hidden_states_by_layer_are_maps(make, images, states, name, size):
    backbone = make(name)
    first, last = backbone.features(images(*size), (0, -1), norm=True)
    assert tuple(first.shape) == tuple(last.shape) == (3, size[0] // 4, size[1] // 4, 16)
    flat = keras.ops.convert_to_numpy(last).reshape(3, -1, 16)
    expected = states(backbone, images(*size))[:, backbone.embeddings.num_leading :]
    np.testing.assert_allclose(flat, expected, atol=1e-5)
    model = keras.Model(backbone.input, backbone.features(backbone.input, (0, 1)))
    plain = backbone.features(images(*size), (0, 1))
    for ours, theirs in zip(model(images(*size)), plain, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs), atol=1e-6)


@once
@pytest.mark.parametrize("layers", [(2,), (-3,), (True,), ("last",)])
def test_hidden_states_of_layers_that_are_not_there(make, images, layers):
    with pytest.raises(ValueError, match="expected ints from -2 to 1"):
        make("vit").features(images(), layers)


def test_layers_are_left_out_for_whole_images(make, images):
    backbone = make("dinov2", drop_path_rate=0.5)
    layer = backbone.transformer_layers[0]
    tokens = np.random.default_rng(0).normal(size=(64, 4, 16)).astype("float32")
    change = keras.ops.convert_to_numpy(layer(tokens, training=True)) - tokens
    left_out = np.abs(change).max(axis=(1, 2)) == 0
    assert 2 < left_out.sum() < 40
    assert np.abs(keras.ops.convert_to_numpy(layer(tokens, training=False)) - tokens).min(axis=(1, 2)).all()


def test_adapters_of_patches_have_the_shapes_of_peft(make, tmp_path, images, states):
    backbone = make("vit")
    backbone.enable_lora(2, ["embedding.patch", "query"], strategy="dora", seed=0)
    for variable in backbone.trainable_weights:
        variable.assign(variable.numpy() + np.random.default_rng(0).normal(size=variable.shape) * 0.2)
    expected = states(backbone, images())
    backbone.save_lora_weights(tmp_path / "adapter")
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    shapes = {name.rpartition("projection.")[2]: array.shape for name, array in tensors.items() if "projection" in name}
    assert shapes == {
        "lora_A.weight": (2, 3, 4, 4),
        "lora_B.weight": (16, 2, 1, 1),
        "lora_magnitude_vector": (1, 16, 1, 1),
    }
    backbone.unload_lora()
    backbone.load_lora_weights(tmp_path / "adapter")
    np.testing.assert_array_equal(states(backbone, images()), expected)


@once
def test_patches_that_peft_cannot_adapt_are_refused(make, tmp_path):
    backbone = make("vit")
    backbone.enable_lora(2, ["embedding.patch"], strategy="ia3")
    with pytest.raises(LoraConfigError, match="patch_embedding, convolution"):
        backbone.save_lora_weights(tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("name", ["vit without class token", "dinov2"])
@pytest.mark.parametrize("format", ["native", "transformers", "kerashub"])
def test_presets_hold_all_of_it(make, tmp_path, images, states, name, format):
    backbone = make(name)
    if (name, format) == ("vit without class token", "transformers"):
        with pytest.raises(vertebra.errors.FormatLimitError, match="use_class_token=False"):
            backbone.save_to_preset(tmp_path / "preset", format=format)
        return
    backbone.save_to_preset(tmp_path / "preset", format=format)
    again = vertebra.Backbone.from_preset(tmp_path / "preset", verify=True)
    assert again.get_config() == backbone.get_config() | {"name": again.name}
    np.testing.assert_array_equal(states(again, images(20, 8)), states(backbone, images(20, 8)))


@pytest.mark.parametrize("name", ["vit", "registers"])
def test_compiled_outputs_are_the_same_for_all_sizes(make, images, states, name):
    backbone = make(name)
    compiled = vertebra.compile(backbone)
    for size in ((12, 12), (20, 8), (8, 28)):
        found = keras.ops.convert_to_numpy(compiled(images(*size))["sequence_output"])
        np.testing.assert_allclose(found, states(backbone, images(*size)), atol=1e-5)


def test_positions_are_resized_for_another_size(make, tmp_path, images, states, caplog):
    backbone = make("vit")
    backbone.save_to_preset(tmp_path / "preset")
    larger = vertebra.Backbone.from_preset(tmp_path / "preset", image_shape=(20, 20, 3))
    np.testing.assert_allclose(states(larger, images(20, 20)), states(backbone, images(20, 20)), atol=1e-5)
    assert "embeddings/position_embedding was resized from (1, 10, 16) to (1, 26, 16)" in caplog.text
    with pytest.raises(vertebra.errors.WeightsMismatchError, match="position_embedding"):
        vertebra.Backbone.from_preset(tmp_path / "preset", image_shape=(20, 12, 3))


@once
@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("vit", {"patch_size": 5}, "patch_size=5, expected divisors"),
        ("vit", {"patch_size": (4, 5)}, r"patch_size=\(4, 5\), expected divisors"),
        ("vit", {"num_heads": 3}, "num_heads=3, expected a divisor"),
        ("vit", {"image_shape": (12, 12)}, "image_shape="),
        ("vit", {"image_shape": (None, 12, 3)}, "image_shape="),
        ("vit", {"use_class_token": False}, "pooler=True"),
        ("dinov2", {"num_register_tokens": -1}, "num_register_tokens=-1, expected from 0 to 1000"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_named(make, name, changes, problem):
    with pytest.raises(ValueError, match=problem):
        make(name, **changes)


@once
def test_one_size_of_patches_is_written_in_one_way(make):
    assert make("vit", patch_size=(4, 4)).get_config()["patch_size"] == 4
    assert make("vit", patch_size=(4, 2)).get_config()["patch_size"] == [4, 2]
