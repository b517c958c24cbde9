"""What presets of other formats hold: tensors of a head, once, and constants; and tasks of decoders."""

import json

import h5py
import numpy as np
import pytest
import safetensors

import vertebra
from vertebra.cli import main

pytestmark = pytest.mark.keras(once=True)

SIZES = {"vocabulary_size": 61, "num_layers": 2, "num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 16}
SIZES |= {"intermediate_dim": 24}
IDS = {"token_ids": np.arange(1, 7)[None], "padding_mask": np.ones((1, 6), "int32")}


def outputs(model):
    import keras

    return keras.ops.convert_to_numpy(model(IDS, training=False))


def names_of(folder):
    with safetensors.safe_open(folder / "model.safetensors", framework="np") as file:
        return set(file.keys())


def classes_of(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]


@pytest.mark.parametrize("tied", [True, False])
def test_a_causal_language_model_has_the_matrix_of_its_head_once(tied, tmp_path):
    task = vertebra.models.CausalLM(vertebra.models.LlamaBackbone(**SIZES, tie_word_embeddings=tied))
    task.save_to_preset(tmp_path / "task", format="transformers")
    names = names_of(tmp_path / "task")
    assert classes_of(tmp_path / "task") == ["LlamaForCausalLM"]
    assert {name for name in names if not name.startswith("model.")} == (set() if tied else {"lm_head.weight"})
    assert not any(name.startswith("model.model.") for name in names)
    again = vertebra.models.CausalLM.from_preset(tmp_path / "task")
    np.testing.assert_allclose(outputs(again), outputs(task), atol=1e-6)


@pytest.mark.parametrize(("tied", "classes"), [(True, ["Qwen2Model"]), (False, ["Qwen2ForCausalLM"])])
def test_a_backbone_is_written_as_the_class_that_has_its_tensors(tied, classes, tmp_path):
    backbone = vertebra.models.Qwen2Backbone(**SIZES, tie_word_embeddings=tied)
    backbone.save_to_preset(tmp_path / "preset", format="transformers")
    assert classes_of(tmp_path / "preset") == classes
    assert ("lm_head.weight" in names_of(tmp_path / "preset")) is not tied
    assert all(name.startswith(("model.", "lm_head.")) is not tied for name in names_of(tmp_path / "preset"))
    again = vertebra.Backbone.from_preset(tmp_path / "preset", verify=True)
    np.testing.assert_allclose(outputs(again), outputs(backbone), atol=1e-6)


def test_a_classifier_of_a_decoder_with_an_own_matrix_is_read_again(tmp_path):
    backbone = vertebra.models.MistralBackbone(**SIZES)
    task = vertebra.models.TextClassifier(backbone, num_classes=3)
    task.save_to_preset(tmp_path / "task", format="transformers")
    assert classes_of(tmp_path / "task") == ["MistralForSequenceClassification"]
    assert not any(name.startswith("model.model.") for name in names_of(tmp_path / "task"))
    again = vertebra.models.TextClassifier.from_preset(tmp_path / "task")
    np.testing.assert_allclose(outputs(again), outputs(task), atol=1e-6)


def test_constants_of_a_format_are_written_and_ignored(tmp_path):
    backbone = vertebra.models.SmolLM3Backbone(**SIZES, attention_output_bias=False)
    backbone.save_to_preset(tmp_path / "preset", format="kerashub")
    with h5py.File(tmp_path / "preset" / "model.weights.h5") as file:
        stored = file["layers/smol_lm3_decoder_layer_1/self_attn/rotary_embedding/vars/0"][()]
    np.testing.assert_allclose(stored, [1.0, 2_000_000.0**-0.5], rtol=1e-6)
    again = vertebra.Backbone.from_preset(tmp_path / "preset", verify=True)
    np.testing.assert_allclose(outputs(again), outputs(backbone), atol=1e-6)


def test_a_preset_with_a_fused_projection_is_converted(tmp_path):
    sizes = SIZES | {"num_key_value_heads": 1}
    backbone = vertebra.models.Phi3Backbone(**sizes)
    backbone.save_to_preset(tmp_path / "theirs", format="transformers")
    with safetensors.safe_open(tmp_path / "theirs" / "model.safetensors", framework="np") as file:
        assert file.get_slice("model.layers.0.self_attn.qkv_proj.weight").get_shape() == [24, 16]
    assert main(["convert", str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 0
    again = vertebra.Backbone.from_preset(tmp_path / "ours", verify=True)
    np.testing.assert_allclose(outputs(again), outputs(backbone), atol=1e-6)
