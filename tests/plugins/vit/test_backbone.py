"""Image encoders: inputs without tokens, images of any size, hidden states by layer, training, adapters and files."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

import vertebra
from vertebra.errors import LoraConfigError

pytestmark = pytest.mark.keras

each = pytest.mark.parametrize("name", ["vit", "vit without class token", "dinov2", "registers"])
once = pytest.mark.keras(once=True)


def train(backbone, images):
    model = keras.Model(backbone.input, backbone.output)
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    targets = {name: np.zeros((3, *(size or 10 for size in out.shape[1:]))) for name, out in model.output.items()}
    targets["sequence_output"] = np.zeros(backbone(images)["sequence_output"].shape)
    return model.fit(images, targets, verbose=0).history["loss"][0]


def test_images_are_passed_as_they_are_or_by_name(make, images, states):
    backbone = make("vit")
    expected = states(backbone, images())
    for outputs in (backbone({"images": images()}), backbone(images=images()), backbone(inputs=images())):
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


@each
def test_every_weight_trains(make, values, images, name):
    backbone = make(name)
    before = values(backbone)
    assert np.isfinite(train(backbone, images()))
    after = values(backbone)
    same = {name for name in before if np.array_equal(before[name], after[name])}
    # The bias of a key adds the same to all scores of a query. No input masks patches.
    assert {name for name in same if not name.endswith("/key/bias")} <= {"embeddings/mask_token"}


def test_layers_are_left_out_for_whole_images(make, images):
    backbone = make("dinov2", drop_path_rate=0.5)
    layer = backbone.transformer_layers[0]
    tokens = np.random.default_rng(0).normal(size=(64, 4, 16)).astype("float32")
    change = keras.ops.convert_to_numpy(layer(tokens, training=True)) - tokens
    left_out = np.abs(change).max(axis=(1, 2)) == 0
    assert 2 < left_out.sum() < 40
    assert np.abs(keras.ops.convert_to_numpy(layer(tokens, training=False)) - tokens).min(axis=(1, 2)).all()


@each
def test_every_role_has_layers(make, name):
    backbone = make(name)
    for role in backbone.lora_roles:
        assert len(make(name).enable_lora(2, [role]).layers) == (1 if role == "embedding.patch" else 2)


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


@each
@pytest.mark.parametrize("format", ["native", "transformers", "kerashub"])
def test_presets_hold_all_of_it(make, tmp_path, images, states, name, format):
    limits = {"kerashub": {"pooler": False}} if name == "vit" else {}
    backbone = make(name, **limits.get(format, {}))
    if (name, format) == ("vit without class token", "transformers"):
        with pytest.raises(vertebra.errors.FormatLimitError, match="use_class_token=False"):
            backbone.save_to_preset(tmp_path / "preset", format=format)
        return
    backbone.save_to_preset(tmp_path / "preset", format=format)
    again = vertebra.Backbone.from_preset(tmp_path / "preset", verify=True)
    assert again.get_config() == backbone.get_config() | {"name": again.name}
    np.testing.assert_array_equal(states(again, images(20, 8)), states(backbone, images(20, 8)))


@each
def test_a_keras_file_has_all_of_it(make, tmp_path, images, states, name):
    backbone = make(name)
    backbone.save(tmp_path / "model.keras")
    again = vertebra.load_model(tmp_path / "model.keras")
    assert type(again) is type(backbone)
    np.testing.assert_array_equal(states(again, images(8, 20)), states(backbone, images(8, 20)))


@pytest.mark.parametrize("name", ["vit", "registers"])
def test_compiled_outputs_are_the_same_for_all_sizes(make, images, states, name):
    backbone = make(name)
    compiled = vertebra.compile(backbone)
    for size in ((12, 12), (20, 8), (8, 28)):
        found = keras.ops.convert_to_numpy(compiled(images(*size))["sequence_output"])
        np.testing.assert_allclose(found, states(backbone, images(*size)), atol=1e-5)


@pytest.mark.parametrize("name", ["vit", "registers"])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_lower_precisions_compute_nearly_the_same(make, images, states, name, policy):
    full, lower = make(name), make(name, dtype=policy)
    lower.set_weights(full.get_weights())
    assert 0 < np.abs(states(lower, images(20, 8)) - states(full, images(20, 8))).mean() < 0.05


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_quantised_weights_compute_nearly_the_same(make, images, states):
    backbone = make("vit")
    before = states(backbone, images())
    backbone.quantize("int8")
    assert 0 < np.abs(states(backbone, images()) - before).mean() < 0.1


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
