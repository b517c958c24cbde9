"""The files of KerasHub's causal language models."""

import json

import numpy as np
import pytest

import vertebra
from byte_tokenizer import TEXTS
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_text import TextPreprocessor

pytestmark = pytest.mark.keras(once=True)


def read(folder, name="task.json"):
    return json.loads((folder / name).read_text())


@pytest.fixture
def saved(make, tokenizer, tmp_path):
    lm = make(TextPreprocessor(tokenizer, 20))
    lm.save_to_preset(tmp_path / "saved", format="kerashub")
    return tmp_path / "saved", lm


def test_the_files_are_those_of_kerashub_s_classes(saved):
    folder, _ = saved
    task, preprocessor = read(folder), read(folder, "preprocessor.json")
    assert (task["registered_name"], task["class_name"]) == ("keras_hub>GPT2CausalLM", "GPT2CausalLM")
    assert task["config"]["backbone"]["class_name"] == "GPT2Backbone"
    assert task["config"]["preprocessor"] == preprocessor
    assert preprocessor["registered_name"] == "keras_hub>GPT2CausalLMPreprocessor"
    assert preprocessor["config"]["sequence_length"] == 20
    assert preprocessor["config"]["tokenizer"]["class_name"] == "GPT2Tokenizer"
    assert not (folder / "task.weights.h5").exists()


def test_a_model_is_read_again(saved):
    folder, lm = saved
    again = vertebra.models.GPT2CausalLM.from_preset(folder)
    np.testing.assert_allclose(again.predict(TEXTS), lm.predict(TEXTS), atol=1e-6)
    assert again.longest == 20


def test_a_model_without_a_tokenizer_has_no_preprocessor(make, tmp_path):
    make(preprocessor=None).save_to_preset(tmp_path / "saved", format="kerashub")
    assert read(tmp_path / "saved")["config"]["preprocessor"] is None
    assert not (tmp_path / "saved" / "preprocessor.json").exists()


def test_the_head_of_another_task_is_not_used(saved, caplog):
    folder, lm = saved
    document = read(folder) | {"class_name": "GPT2TextClassifier"}
    (folder / "task.json").write_text(json.dumps(document))
    np.testing.assert_allclose(
        vertebra.models.CausalLM.from_preset(folder).predict(TEXTS), lm.predict(TEXTS), atol=1e-6
    )
    assert "it has a head of GPT2TextClassifier, which is not used" in caplog.text


def test_a_preset_without_a_task_is_read(saved):
    folder, lm = saved
    (folder / "task.json").unlink()
    np.testing.assert_allclose(
        vertebra.models.CausalLM.from_preset(folder).predict(TEXTS), lm.predict(TEXTS), atol=1e-6
    )


@pytest.mark.parametrize("document", [{"class_name": 3, "config": {}}, {"class_name": "GPT2CausalLM"}])
def test_a_document_that_is_no_object_is_an_error(document, saved):
    folder, _ = saved
    (folder / "task.json").write_text(json.dumps(document))
    with pytest.raises(PresetConfigError, match="it has no class_name and config"):
        vertebra.models.CausalLM.from_preset(folder)


def test_a_head_of_its_own_has_no_form_there(make, tmp_path):
    with pytest.raises(FormatLimitError, match="own_head=True: its GPT2CausalLM computes logits with the token table"):
        make(own_head=True).save_to_preset(tmp_path / "saved", format="kerashub")
    assert not (tmp_path / "saved").exists()


def test_a_tokenizer_of_another_kind_has_no_form_there(tokenizer, tmp_path):
    sizes = {"num_layers": 1, "num_query_heads": 2, "num_key_value_heads": 1, "hidden_dim": 16, "head_dim": 8}
    backbone = vertebra.models.GemmaBackbone(300, intermediate_dim=32, **sizes)
    lm = vertebra.models.CausalLM(backbone, tokenizer)
    with pytest.raises(FormatLimitError, match="tokenizer_class='GPT2Tokenizer': its GemmaCausalLM has a GemmaTokeni"):
        lm.save_to_preset(tmp_path / "saved", format="kerashub")
    assert not (tmp_path / "saved").exists()
