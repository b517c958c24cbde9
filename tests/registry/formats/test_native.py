"""The native format: weights are loaded as they were saved, bit by bit, on this runtime and on others."""

import json
import shutil

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra.errors import WeightsMismatchError

pytestmark = pytest.mark.keras


@pytest.fixture
def preset(backbone, tmp_path):
    """A native preset of the reference BERT."""
    backbone.save_to_preset(tmp_path / "preset")
    return tmp_path / "preset"


def same(one, other):
    """Says whether two tables of arrays have the same names and bits."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name]) for name in one
    )


# === Round trips ===


def test_a_preset_comes_back_to_the_last_bit(backbone, preset, values, run):
    again = vertebra.Backbone.from_preset(preset)
    assert again.get_config() == backbone.get_config()
    assert same(values(again), values(backbone))
    assert same(run(again), run(backbone))


def test_the_folder_says_what_it_holds(preset, runtime):
    config = json.loads((preset / "config.json").read_text())
    about = json.loads((preset / "metadata.json").read_text())
    files = {"config.json", "metadata.json", "model.safetensors", "certificate.safetensors", "carried"}
    assert {path.name for path in preset.iterdir()} == files
    assert (config["vertebra_format"], config["backbone"]) == (1, "BertBackbone")
    assert "dtype" not in config["config"]
    assert (about["runtime"], about["parameter_count"]) == (runtime, 6656)


def test_other_readers_of_safetensors_find_the_weights_by_layer(backbone, preset, values):
    assert same(load_file(preset / "model.safetensors"), values(backbone))


def test_half_precision_is_stored_as_it_is_and_widens_without_loss(golden, tmp_path, values):
    half = vertebra.Backbone.from_preset(golden / "transformers", dtype="bfloat16")
    half.save_to_preset(tmp_path / "half")
    assert (tmp_path / "half" / "model.safetensors").stat().st_size < 1.5 * 2 * 6656
    assert same(values(vertebra.Backbone.from_preset(tmp_path / "half", dtype="bfloat16")), values(half))
    widened = {name: array.astype("float32") for name, array in values(half).items()}
    assert same(values(vertebra.Backbone.from_preset(tmp_path / "half")), widened)


def test_an_attached_adapter_is_saved_with_the_preset(backbone, tmp_path, train, run):
    backbone.enable_lora(2, alpha=4)
    train(backbone)
    backbone.save_to_preset(tmp_path / "adapted")
    again = vertebra.Backbone.from_preset(tmp_path / "adapted")
    assert same(run(again), run(backbone))
    assert [v.path for v in again.trainable_weights] == [v.path for v in backbone.trainable_weights]
    frozen = vertebra.Backbone.from_preset(tmp_path / "adapted", trainable=False)
    assert frozen.trainable_weights == []
    assert same(run(frozen), run(backbone))


# === Shards ===


def test_weights_past_the_size_are_split_and_indexed(backbone, tmp_path, values, run):
    backbone.save_to_preset(tmp_path / "sharded", max_shard_size=8e-6)
    shards = sorted(path.name for path in (tmp_path / "sharded").glob("model-*"))
    count = len(shards)
    assert count > 2
    assert shards == [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    index = json.loads((tmp_path / "sharded" / "model.safetensors.index.json").read_text())
    held = {name: shard for shard in shards for name in load_file(tmp_path / "sharded" / shard)}
    assert index == {"metadata": {"total_size": 4 * 6656}, "weight_map": held}
    assert all(sum(a.nbytes for a in load_file(tmp_path / "sharded" / shard).values()) <= 8000 for shard in shards)
    again = vertebra.Backbone.from_preset(tmp_path / "sharded")
    assert same(values(again), values(backbone))
    assert same(run(again), run(backbone))


# === Strict matching ===


def rewrite(preset, change):
    """Changes the tensors of a preset's only weights file."""
    tensors = load_file(preset / "model.safetensors")
    change(tensors)
    save_file(tensors, preset / "model.safetensors")


def test_every_tensor_that_does_not_match_is_listed(preset):
    def change(tensors):
        del tensors["pooled_dense/bias"]
        tensors["pooled_dense/scale"] = np.zeros(16, "float32")
        tensors["token_embeddings/embeddings"] = tensors.pop("token_embedding/embeddings")
        tensors["segment_embedding/embeddings"] = np.zeros((3, 16), "float32")
        tensors["pooled_dense/kernel"] = tensors["pooled_dense/kernel"].astype("int32")

    rewrite(preset, change)
    with pytest.raises(WeightsMismatchError) as caught:
        vertebra.Backbone.from_preset(preset)
    assert caught.value.missing == ["token_embedding/embeddings", "pooled_dense/bias"]
    assert sorted(caught.value.unused) == ["pooled_dense/scale", "token_embeddings/embeddings"]
    assert caught.value.reshaped == [("segment_embedding/embeddings", (2, 16), (3, 16))]
    assert len(caught.value.retyped) == 1
    assert caught.value.retyped[0].startswith("pooled_dense/kernel ")


def test_a_square_kernel_is_not_transposed_by_mistake_and_a_flat_one_not_taken(preset):
    rewrite(preset, lambda tensors: tensors.update({"pooled_dense/kernel": np.zeros(256, "float32")}))
    with pytest.raises(WeightsMismatchError) as caught:
        vertebra.Backbone.from_preset(preset)
    assert caught.value.reshaped == [("pooled_dense/kernel", (16, 16), (256,))]


def test_overrides_that_change_shapes_do_not_fit_the_weights(preset):
    with pytest.raises(WeightsMismatchError) as caught:
        vertebra.Backbone.from_preset(preset, max_sequence_length=8)
    assert caught.value.reshaped == [("position_embedding/embeddings", (8, 16), (16, 16))]
    with pytest.raises(WeightsMismatchError) as caught:
        vertebra.Backbone.from_preset(preset, num_layers=1)
    assert len(caught.value.unused) == 16
    assert all(name.startswith("transformer_layer_1/") for name in caught.value.unused)


# === Training on weights that view the file ===


@pytest.mark.parametrize("jit", [True, False], ids=["compiled", "eager"])
def test_training_never_reaches_the_file_that_the_weights_view(preset, digest, values, train, run, jit):
    before = digest(preset)
    backbone = vertebra.Backbone.from_preset(preset)
    loaded, outputs = values(backbone), run(backbone)
    losses = train(backbone, steps=3, jit=jit)  # compiled, jax gives the memory of old weights to the new ones
    assert losses[-1] < losses[0]
    assert not np.array_equal(values(backbone)["token_embedding/embeddings"], loaded["token_embedding/embeddings"])
    assert digest(preset) == before
    again = vertebra.Backbone.from_preset(preset)
    assert same(values(again), loaded)
    assert same(run(again), outputs)


def test_weights_loaded_frozen_can_train_later(preset, digest, values, train):
    before = digest(preset)
    backbone = vertebra.Backbone.from_preset(preset, trainable=False)
    loaded = values(backbone)
    head = keras.layers.Dense(1)
    train(backbone, extra=head)
    assert same(values(backbone), loaded)
    backbone.trainable = True
    train(backbone, extra=head)
    changed = values(backbone)
    assert not np.array_equal(changed["pooled_dense/kernel"], loaded["pooled_dense/kernel"])
    assert digest(preset) == before


def test_two_backbones_of_one_file_do_not_share_what_they_train(preset, values):
    one, other = vertebra.Backbone.from_preset(preset), vertebra.Backbone.from_preset(preset)
    kept = values(other)
    for variable in one.weights:
        variable.assign(np.zeros(variable.shape))
    assert same(values(other), kept)
    assert not any(array.any() for array in values(one).values())


def test_a_backbone_outlives_the_folder_that_it_was_loaded_from(preset, run):
    backbone = vertebra.Backbone.from_preset(preset)
    before = run(backbone)
    shutil.rmtree(preset)
    assert same(run(backbone), before)


# === Other runtimes ===

RUN_ELSEWHERE = """
import sys
import numpy as np
import vertebra
preset, inputs, outputs = sys.argv[1:]
backbone = vertebra.Backbone.from_preset(preset)
import keras
results = backbone(dict(np.load(inputs)), training=False)
np.savez(outputs, **{name: keras.ops.convert_to_numpy(value) for name, value in results.items()})
backbone.save_to_preset(preset + "_again")
print(keras.config.backend())
"""


def test_a_preset_gives_the_same_numbers_on_another_runtime(
    preset, backbone, inputs, run, values, child, other_runtime, tmp_path
):
    np.savez(tmp_path / "inputs.npz", **inputs)
    ran_on = child(RUN_ELSEWHERE, preset, tmp_path / "inputs.npz", tmp_path / "outputs.npz", on=other_runtime)
    assert ran_on.strip() == other_runtime
    there, here = dict(np.load(tmp_path / "outputs.npz")), run(backbone)
    assert max(np.abs(there[name] - here[name]).max() for name in here) <= 1e-5
    assert same(values(vertebra.Backbone.from_preset(f"{preset}_again")), values(backbone))
