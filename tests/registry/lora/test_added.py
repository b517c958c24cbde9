"""Layers that an adapter has in addition to those of its LoRA: rows of a table, by PEFT's trainable_token_indices."""

import json

import keras
import numpy as np
import pytest

import vertebra
from vertebra._lora.state import adapters_of
from vertebra.errors import LoraConfigError, LoraTargetError

pytestmark = pytest.mark.keras

ROWS = [7, 2]


@pytest.mark.parametrize("form", ["a.safetensors", "a"])
@pytest.mark.parametrize("strategy", ["lora", "dora", "rslora"])
def test_rows_train_with_a_lora_and_return_from_a_file(plain, fill, run, golden, tmp_path, strategy, form):
    receipt = plain.enable_lora(2, strategy=strategy, trainable_token_indices=ROWS)
    assert "token_embedding" in receipt.layers
    assert len(receipt.layers) == 5
    fill(plain)
    plain.save_lora_weights(tmp_path / form)
    fresh = vertebra.Backbone.from_preset(golden / "transformers")
    again = fresh.load_lora_weights(tmp_path / form)
    assert (sorted(again.layers), again.parameters_trained) == (sorted(receipt.layers), receipt.parameters_trained)
    assert np.array_equal(run(fresh)["sequence_output"], run(plain)["sequence_output"])


@pytest.mark.keras(once=True)
def test_rows_stay_rows_where_peft_lacks_the_strategy_of_the_others(plain, fill, run, golden, tmp_path):
    plain.enable_lora(2, strategy="vera", trainable_token_indices=ROWS)
    fill(plain)
    plain.save_lora_weights(tmp_path / "plain")
    config = json.loads((tmp_path / "plain" / "adapter_config.json").read_text())
    assert config["trainable_token_indices"] == {"embeddings.word_embeddings": ROWS}
    fresh = vertebra.Backbone.from_preset(golden / "transformers")
    fresh.load_lora_weights(tmp_path / "plain")
    np.testing.assert_allclose(run(fresh)["sequence_output"], run(plain)["sequence_output"], atol=1e-5)


def test_rows_start_as_those_of_the_base_and_alone_change(plain, adapters, fill, run):
    before = run(plain)
    plain.enable_lora(2, trainable_token_indices=ROWS)
    assert np.array_equal(run(plain)["sequence_output"], before["sequence_output"])
    fill(plain)
    rows = adapters(plain)["token_embedding"].rows.numpy()
    looked_up = keras.ops.convert_to_numpy(plain.token_embedding(np.array([[7, 2, 3]])))[0]
    np.testing.assert_allclose(looked_up[:2], rows, atol=1e-6)
    assert np.array_equal(looked_up[2], plain.token_embedding.embeddings.numpy()[3])


def test_it_survives_merging_a_preset_and_keras_files(plain, fill, run, tmp_path):
    plain.enable_lora(2, trainable_token_indices={"token_embedding": ROWS, "position_embedding": np.arange(2).tolist()})
    fill(plain)
    outputs = run(plain)["sequence_output"]
    plain.save_to_preset(tmp_path / "preset")
    assert np.array_equal(run(vertebra.Backbone.from_preset(tmp_path / "preset"))["sequence_output"], outputs)
    plain.save(tmp_path / "model.keras")
    assert np.array_equal(run(vertebra.load_model(tmp_path / "model.keras"))["sequence_output"], outputs)
    plain.merge_lora()
    np.testing.assert_allclose(run(plain)["sequence_output"], outputs, atol=1e-5)


def test_rows_of_any_model():
    inputs = [keras.Input((3,), dtype="int32"), keras.layers.Embedding(5, 4, name="e"), keras.layers.Dense(2, name="d")]
    model = keras.Sequential(inputs)
    with pytest.raises(LoraConfigError, match="the model names no token_embedding"):
        vertebra.lora.enable(model, 2, ["d"], trainable_token_indices=[1])
    receipt = vertebra.lora.enable(model, 2, ["d"], trainable_token_indices={"e": range(2)})
    assert (receipt.layers, receipt.parameters_added) == (("d", "e"), 2 * (4 + 2) + 2 * 4)


WRONG = [
    ({"trainable_token_indices": []}, "trainable_token_indices=.* distinct ints from 0 to 100"),
    ({"trainable_token_indices": [101]}, "trainable_token_indices=.* distinct ints from 0 to 100"),
    ({"trainable_token_indices": [1, 1]}, "trainable_token_indices=.* distinct ints from 0 to 100"),
    ({"trainable_token_indices": 3}, "a list of ints"),
    ({"trainable_token_indices": "ab"}, "a list of ints"),
    ({"trainable_token_indices": [1.5]}, "a list of ints"),
    ({"trainable_token_indices": [True]}, "a list of ints"),
    ({"trainable_token_indices": [-1]}, "trainable_token_indices=.* distinct ints from 0 to 100"),
    ({"trainable_token_indices": np.array([[1]])}, "a list of ints"),
    ({"trainable_token_indices": np.array(1)}, "a list of ints"),
    ({"trainable_token_indices": np.array([1.0])}, "a list of ints"),
    ({"trainable_token_indices": np.array([True])}, "a list of ints"),
    ({"trainable_token_indices": {}}, "a list of ints"),
    ({"trainable_token_indices": {"pooled_dense": [1]}}, "trainable_token_indices=.* tables that are looked up"),
    ({"trainable_token_indices": [1], "strategy": "ia3"}, "only adapters of LoRA have it"),
    ({"trainable_token_indices": [1], "target_names": ["token_embedding"]}, "in another way, as it does 'token_embedd"),
    ({"trainable_token_indices": [1], "train": ["token_embedding"]}, "in another way, as it does 'token_embedding'"),
]


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(("settings", "told"), WRONG, ids=str)
def test_what_cannot_be_is_refused_and_changes_nothing(plain, settings, told):
    with pytest.raises(LoraConfigError, match=told):
        plain.enable_lora(2, **settings)
    assert plain.lora_adapters == {}


@pytest.mark.keras(once=True)
def test_a_target_that_matches_nothing_is_named(plain):
    with pytest.raises(LoraTargetError, match=r"'word_embeddings': it matches no layer.*'token_embedding'"):
        plain.enable_lora(2, trainable_token_indices={"word_embeddings": [1]})


@pytest.mark.keras(once=True)
def test_without_the_plugin_it_is_named(plain, monkeypatch):
    monkeypatch.setattr("vertebra._lora.added.lora_fields", dict)
    with pytest.raises(LoraConfigError, match="Install a plugin that computes it, such as vertebra-lora-variants"):
        plain.enable_lora(2, trainable_token_indices=[1])


ARRAYS = [np.array(ROWS), np.array(ROWS, "uint8"), [*np.array(ROWS)], {"token_embedding": np.array(ROWS, "int32")}]


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("rows", ARRAYS, ids=repr)
def test_rows_may_be_numpy_s(plain, tmp_path, rows):
    plain.enable_lora(2, trainable_token_indices=rows)
    assert adapters_of(plain).known["default"].plan.layers["token_embedding"].options == {"token_indices": ROWS}
    plain.save_lora_weights(tmp_path / "a")


@pytest.mark.keras(once=True)
def test_kerashub_has_no_rows(plain, tmp_path):
    plain.enable_lora(2, trainable_token_indices=[1])
    with pytest.raises(LoraConfigError, match="token_embedding"):
        plain.save_lora_weights(tmp_path / "a.lora.h5")
