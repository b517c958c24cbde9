"""Configs of transformers without a model type: their classes or the class that the user names tell it."""

import json

import pytest

from vertebra._formats.registry import read_description
from vertebra._resolve.open import open_folder
from vertebra.errors import PresetConfigError

BERT = {"vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.fixture
def read(tmp_path):
    """Returns a function that reads a config."""

    def describe(config, asked=None):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return read_description(open_folder(tmp_path), asked)

    return describe


def named(name, *bases):
    return type(name, bases, {})


@pytest.mark.parametrize("mark", [{}, {"model_type": None}])
def test_the_class_that_was_asked_for_tells_the_model_type(read, mark):
    for asked in (named("BertBackbone"), named("MyBert", named("BertBackbone"))):
        described = read(BERT | mark, asked)
        assert (described.backbone, described.arguments["hidden_dim"]) == ("BertBackbone", 16)
        assert "model_type" in described.notes[0]


@pytest.mark.parametrize(
    ("architecture", "backbone"),
    [
        ("BertModel", "BertBackbone"),
        ("BertForMaskedLM", "BertBackbone"),
        ("BertLMHeadModel", "BertBackbone"),
        ("GPT2LMHeadModel", "GPT2Backbone"),
        ("GPT2DoubleHeadsModel", "GPT2Backbone"),
        ("GemmaForCausalLM", "GemmaBackbone"),
        ("Gemma2ForCausalLM", "GemmaBackbone"),
        ("VaultGemmaModel", "GemmaBackbone"),
        ("Gemma3TextModel", "Gemma3Backbone"),
        ("Gemma3ForCausalLM", "Gemma3Backbone"),
        ("Gemma3ForConditionalGeneration", "Gemma3Backbone"),
        ("RobertaForSequenceClassification", "RobertaBackbone"),
        ("XLMRobertaModel", "XLMRobertaBackbone"),
        ("CamembertForMaskedLM", "CamembertBackbone"),
        ("DistilBertModel", "DistilBertBackbone"),
        ("ElectraForPreTraining", "ElectraBackbone"),
        ("MPNetForMaskedLM", "MPNetBackbone"),
        ("ModernBertForMaskedLM", "ModernBertBackbone"),
    ],
)
def test_its_architectures_tell_the_model_type(read, architecture, backbone):
    described = read({"architectures": [architecture]})
    assert described.backbone == backbone
    assert "architectures" in described.notes[0]


def test_the_architectures_come_before_the_class(read):
    described = read({"architectures": ["Gemma2Model"]}, named("GemmaBackbone"))
    assert described.arguments["use_post_ffw_norm"]


OTHERS = [
    *({}, BERT, BERT | {"architectures": ["AlbertModel"]}, BERT | {"architectures": ["BertModel", "GPT2Model"]}),
    *(
        BERT | {"architectures": ["BertGenerationDecoder"]},
        BERT | {"architectures": "BertModel"},
        {"architectures": [1]},
    ),
]


@pytest.mark.parametrize("config", OTHERS)
def test_a_config_that_tells_nothing_is_refused_with_the_remedy(read, config):
    with pytest.raises(PresetConfigError, match=r"no model_type.*'bert'.*from_preset"):
        read(config)


def test_a_class_of_several_model_types_is_not_enough(read):
    with pytest.raises(PresetConfigError, match="one of 'gemma', 'gemma2', 'vaultgemma'") as caught:
        read({}, named("GemmaBackbone"))
    assert "load it with the class" not in str(caught.value)


def test_a_config_with_its_model_type_needs_no_note(read):
    assert read(BERT | {"model_type": "bert"}).notes == ()
