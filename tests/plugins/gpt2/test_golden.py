"""Presets that KerasHub and transformers wrote, with the outputs that they compute with them."""

import json
import warnings

import h5py
import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra._weights.layout import put, take
from vertebra._weights.naming import weight_names
from vertebra_gpt2.kerashub import GPT2KerasHub

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
def test_transformers_computes_the_same_with_what_is_written_for_it(make, run, inputs, tmp_path, change):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    backbone = make(**change)
    backbone.save_to_preset(tmp_path / "preset", format="transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' own
        model = transformers.GPT2Model.from_pretrained(tmp_path / "preset").eval()
    ids, mask = (torch.tensor(inputs[name]) for name in ("token_ids", "padding_mask"))
    with torch.no_grad():
        theirs = model(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()
    assert np.abs(theirs - run(backbone))[inputs["padding_mask"] == 1].max() <= 1e-5
    again = vertebra.Backbone.from_preset(tmp_path / "preset")
    assert {**again.get_config(), "name": ""} == {**backbone.get_config(), "name": ""}
    assert np.array_equal(run(again), run(backbone))


# === KerasHub ===


@pytest.fixture
def kerashub(golden):
    """Reads a KerasHub preset by nothing but the rules of its translation; returns the backbone and the datasets."""

    def read(preset):
        config = json.loads((golden / preset / "config.json").read_text(encoding="utf-8"))["config"]
        own = {name: value for name, value in config.items() if name not in ("name", "trainable", "dtype")}
        arguments = GPT2KerasHub().arguments(own)
        backbone = vertebra.models.GPT2Backbone(**arguments)
        datasets = {}
        for path in (golden / preset).glob("*.h5"):
            with h5py.File(path) as file:
                file.visititems(lambda name, item: datasets.update({name: item[()]} if hasattr(item, "shape") else {}))
        for name, rule in GPT2KerasHub().rules(arguments).items():
            variable = weight_names(backbone)[name]
            variable.assign(take(rule, datasets[rule.tensor], tuple(variable.shape)))
        return backbone, datasets

    return read


@pytest.mark.parametrize("preset", ["kerashub", "kerashub_sharded"])
def test_outputs_are_those_of_kerashub(kerashub, gap, preset):
    backbone, _ = kerashub(preset)
    assert gap(backbone, "kerashub") <= 1e-5


def test_weights_are_laid_out_as_kerashub_has_them(kerashub, values):
    backbone, datasets = kerashub("kerashub")
    found = values(backbone)
    for name, rule in GPT2KerasHub().rules(backbone.get_config()).items():
        assert np.array_equal(put([rule], [found[name]]), datasets[rule.tensor])


def test_the_token_embedding_gives_logits(kerashub, run):
    backbone, _ = kerashub("kerashub")
    logits = backbone.token_embedding(keras.ops.convert_to_tensor(run(backbone)), reverse=True)
    expected = run(backbone) @ backbone.token_embedding.embeddings.numpy().T
    assert np.abs(keras.ops.convert_to_numpy(logits) - expected).max() <= 1e-4
