"""The head of transformers checkpoints: tied, with a matrix of its own, or missing."""

import json
import logging

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from byte_tokenizer import TEXTS
from vertebra.cli import main
from vertebra.errors import FormatLimitError, PresetConfigError

pytestmark = pytest.mark.keras(once=True)

MATRIX = "lm_head.weight"


def edited(folder, tensors=None, **fields):
    """Changes the config of a checkpoint, and adds or replaces tensors."""
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | fields))
    if tensors:
        path = folder / "model.safetensors"
        stored = load_file(path)
        save_file(stored | {name: make(stored) for name, make in tensors.items()}, path, {"format": "pt"})
    return folder


@pytest.fixture
def saved(make, tmp_path):
    """Saves a model as a transformers checkpoint; returns the folder and the model."""

    def save(own_head=False):
        lm = make(own_head=own_head)
        lm.save_to_preset(tmp_path / "saved", format="transformers", certificate=False)
        return tmp_path / "saved", lm

    return save


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def table(stored):
    return next(array for name, array in stored.items() if name.endswith("wte.weight")).copy()


@pytest.mark.parametrize("own_head", [False, True])
def test_a_checkpoint_keeps_the_head(own_head, saved):
    folder, lm = saved(own_head)
    assert (folder / "generation_config.json").exists() is False
    assert config_of(folder)["architectures"] == ["GPT2LMHeadModel"]
    assert config_of(folder)["tie_word_embeddings"] is not own_head
    assert (MATRIX in load_file(folder / "model.safetensors")) is own_head
    again = vertebra.models.GPT2CausalLM.from_preset(folder)
    assert again.own_head is own_head
    np.testing.assert_allclose(again.predict(TEXTS), lm.predict(TEXTS), atol=1e-6)


def test_gemma_has_the_class_of_a_causal_model(tmp_path):
    sizes = {"num_layers": 1, "num_query_heads": 2, "num_key_value_heads": 1, "hidden_dim": 16, "head_dim": 8}
    lm = vertebra.models.CausalLM(vertebra.models.GemmaBackbone(300, intermediate_dim=32, **sizes))
    lm.save_to_preset(tmp_path / "saved", format="transformers")
    assert config_of(tmp_path / "saved")["architectures"] == ["GemmaForCausalLM"]


def test_a_copy_of_the_token_table_is_no_head_of_its_own(saved, caplog):
    folder, lm = saved()
    edited(folder, {MATRIX: table})
    again = vertebra.models.CausalLM.from_preset(folder)
    assert not again.own_head
    np.testing.assert_allclose(again.predict(TEXTS), lm.predict(TEXTS), atol=1e-6)
    assert [record.getMessage() for record in caplog.records if "not used" in record.getMessage()] == []


def test_a_matrix_that_differs_is_the_head_whatever_the_config_says(saved):
    folder, _ = saved()
    edited(folder, {MATRIX: lambda stored: 2 * table(stored)})
    again = vertebra.models.CausalLM.from_preset(folder)
    assert again.own_head
    tied = vertebra.models.CausalLM.from_preset(folder, own_head=False)
    np.testing.assert_allclose(again.predict(TEXTS), 2 * tied.predict(TEXTS), atol=1e-4)


def test_a_head_that_is_missing_is_random_with_a_warning(saved):
    folder, _ = saved()
    edited(folder, tie_word_embeddings=False)
    with pytest.warns(UserWarning, match="has no values for lm_head/kernel: they are initialised randomly, so train"):
        again = vertebra.models.CausalLM.from_preset(folder)
    assert again.random_weights == ["lm_head/kernel"]


def test_a_checkpoint_of_the_backbone_alone_has_the_token_table(make, tmp_path):
    lm = make()
    lm.backbone.save_to_preset(tmp_path / "saved", format="transformers")
    lm.tokenizer.save_to_preset(tmp_path / "saved")
    again = vertebra.models.CausalLM.from_preset(tmp_path / "saved")
    np.testing.assert_allclose(again.predict(TEXTS), lm.predict(TEXTS), atol=1e-6)


def test_a_head_with_a_bias_is_refused(saved):
    folder, _ = saved()
    edited(folder, {"lm_head.bias": lambda stored: np.zeros(300, "float32")})
    with pytest.raises(PresetConfigError, match=r"the head has a bias, lm_head\.bias, expected a matrix only"):
        vertebra.models.CausalLM.from_preset(folder)


def test_an_argument_of_the_user_is_no_longer_that_of_the_file(saved):
    folder, _ = saved(own_head=True)
    assert not vertebra.models.CausalLM.from_preset(folder, own_head=False).own_head
    assert vertebra.models.CausalLM.from_preset(folder, load_weights=False).own_head


def test_there_is_no_form_for_sentence_transformers(make, tmp_path):
    with pytest.raises(FormatLimitError, match="task='CausalLM': it has no such task"):
        make().save_to_preset(tmp_path / "saved", format="sentence-transformers")
    assert not (tmp_path / "saved").exists()


# === Conversions ===


@pytest.mark.parametrize("own_head", [False, True])
def test_conversions_keep_the_head(own_head, saved, tmp_path, caplog):
    folder, lm = saved(own_head)
    (folder / "generation_config.json").write_text(json.dumps({"max_new_tokens": 7}))
    expected = lm.predict(TEXTS)
    for source, target, format in ((folder, "native", "native"), (tmp_path / "native", "back", "transformers")):
        assert main(["convert", str(source), str(tmp_path / target), "--format", format]) == 0
        again = vertebra.models.CausalLM.from_preset(tmp_path / target)
        assert again.own_head is own_head
        np.testing.assert_allclose(again.predict(TEXTS), expected, atol=1e-6)
        assert json.loads((tmp_path / target / "generation_config.json").read_text()) == {"max_new_tokens": 7}
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert config_of(tmp_path / "back")["architectures"] == ["GPT2LMHeadModel"]


def test_a_head_that_kerashub_lacks_is_named(saved, tmp_path, caplog):
    folder, _ = saved(own_head=True)
    assert main(["convert", str(folder), str(tmp_path / "kerashub"), "--format", "kerashub"]) == 0
    assert "own_head=True: its GPT2CausalLM computes logits with the token table" in caplog.text
    assert "so token_embedding(x, reverse=True) does not compute the model's logits" in caplog.text
