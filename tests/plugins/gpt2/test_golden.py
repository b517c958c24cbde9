"""Presets that KerasHub and transformers wrote, with the outputs that they compute with them."""

import shutil

import h5py
import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra.errors import FormatLimitError

pytestmark = pytest.mark.keras


@pytest.fixture
def gap(io, run):
    """Returns the largest difference to a peer's outputs at positions that hold a token."""
    return lambda backbone, tag: np.abs(run(backbone) - io[f"{tag}/sequence_output"])[io["padding_mask"] == 1].max()


# === transformers ===


@pytest.mark.parametrize("preset", ["transformers", "transformers_sharded", "transformers_head"])
def test_outputs_are_those_of_transformers(golden, gap, preset):
    tag = preset.removesuffix("_sharded")
    assert gap(vertebra.Backbone.from_preset(golden / preset), tag) <= 1e-5


def test_weights_stored_as_bfloat16_are_close_to_the_original(golden, gap):
    backbone = vertebra.Backbone.from_preset(golden / "transformers_bf16", dtype="float32")
    assert 1e-5 < gap(backbone, "transformers") <= 0.08


def test_the_masks_of_old_checkpoints_are_no_weights(golden, gap, tmp_path):
    (tmp_path / "config.json").write_bytes((golden / "transformers_head" / "config.json").read_bytes())
    masks = {f"transformer.h.{i}.attn.bias": np.tri(16, dtype="float32")[None, None] for i in range(2)}
    masks |= {f"transformer.h.{i}.attn.masked_bias": np.float32(-1e4)[None] for i in range(2)}
    head = {"lm_head.weight": np.zeros((101, 16), "float32")}
    tensors = load_file(golden / "transformers_head" / "model.safetensors")
    save_file(tensors | masks | head, tmp_path / "model.safetensors")
    assert gap(vertebra.Backbone.from_preset(tmp_path), "transformers_head") <= 1e-5


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"activation": "quick_gelu"},
        {"activation": "relu_squared", "layer_norm_epsilon": 0.1},
        {"intermediate_dim": 24, "num_heads": 4, "dropout": 0.3},
        {"scale_attention": False},
        {"scale_attention_by_inverse_layer_index": True},
    ],
    ids=str,
)
def test_what_is_written_for_transformers_is_read_back_the_same(make, run, tmp_path, change):
    """`tests/peers` asks transformers itself."""
    backbone = make(**change)
    backbone.save_to_preset(tmp_path / "preset", format="transformers")
    again = vertebra.Backbone.from_preset(tmp_path / "preset")
    assert {**again.get_config(), "name": ""} == {**backbone.get_config(), "name": ""}
    assert np.array_equal(run(again), run(backbone))


# === KerasHub ===


@pytest.fixture
def kerashub(golden):
    """The tiny GPT-2 that KerasHub wrote."""
    return vertebra.Backbone.from_preset(golden / "kerashub")


@pytest.mark.parametrize("preset", ["kerashub", "kerashub_sharded"])
def test_outputs_are_those_of_kerashub(golden, gap, preset):
    assert gap(vertebra.models.GPT2Backbone.from_preset(golden / preset), "kerashub") <= 1e-5


def test_a_preset_of_kerasnlp_is_one_of_kerashub(golden, gap, tmp_path):
    shutil.copytree(golden / "kerashub", tmp_path / "preset")
    config = (tmp_path / "preset" / "config.json").read_text(encoding="utf-8")
    (tmp_path / "preset" / "config.json").write_text(config.replace("keras_hub>", "keras_nlp>"), encoding="utf-8")
    assert gap(vertebra.Backbone.from_preset(tmp_path / "preset"), "kerashub") <= 1e-5


def test_what_is_written_for_kerashub_is_what_kerashub_wrote(kerashub, golden, run, tmp_path):
    kerashub.save_to_preset(tmp_path / "preset", format="kerashub")
    before, after = (datasets(folder / "model.weights.h5") for folder in (golden / "kerashub", tmp_path / "preset"))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert np.array_equal(run(vertebra.Backbone.from_preset(tmp_path / "preset")), run(kerashub))


def datasets(path):
    """Returns all datasets of an HDF5 file by path."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


@pytest.mark.parametrize("format", ["native", "transformers", "kerashub"])
def test_a_preset_goes_from_one_format_to_another(kerashub, run, tmp_path, format):
    kerashub.save_to_preset(tmp_path / "preset", format=format)
    again = vertebra.models.GPT2Backbone.from_preset(tmp_path / "preset")
    assert {**again.get_config(), "name": ""} == {**kerashub.get_config(), "name": ""}
    assert np.array_equal(run(again), run(kerashub))


def test_what_kerashub_cannot_compute_is_not_written_for_it(make, tmp_path):
    with pytest.raises(FormatLimitError) as caught:
        make(scale_attention=False).save_to_preset(tmp_path / "preset", format="kerashub")
    assert caught.value.argument == "scale_attention"
    assert not (tmp_path / "preset").exists()


def test_the_token_embedding_gives_logits(kerashub, run):
    logits = kerashub.token_embedding(keras.ops.convert_to_tensor(run(kerashub)), reverse=True)
    expected = run(kerashub) @ kerashub.token_embedding.embeddings.numpy().T
    assert np.abs(keras.ops.convert_to_numpy(logits) - expected).max() <= 1e-4
