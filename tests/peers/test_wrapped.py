"""Weights of wrapped models, as torch, safetensors, the hub's client and PEFT save them, are read or refused."""

import pytest

import vertebra
from vertebra._presets.convert import convert_preset
from vertebra.errors import WeightsFileError, WeightsMismatchError

pytestmark = pytest.mark.keras

SIZES = {"vocab_size": 61, "num_hidden_layers": 3, "hidden_size": 16, "max_position_embeddings": 12}
MODELS = {
    "bert": ("BertForPreTraining", SIZES | {"num_attention_heads": 2, "intermediate_size": 24}),
    "gpt2": ("GPT2LMHeadModel", SIZES | {"num_attention_heads": 2, "bos_token_id": 1, "eos_token_id": 2}),
    "gemma": (
        "GemmaForCausalLM",
        SIZES | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "intermediate_size": 24},
    ),
}
each_model = pytest.mark.parametrize("model_type", MODELS)


@pytest.fixture
def created(ask, transformers_peer, folder):
    """Lets transformers make a model and save its weights in a way; returns its outputs."""

    def create(model_type, way):
        model, config = MODELS[model_type]
        options = {"model": model, "config": config | {"model_type": model_type}, "way": way}
        folder.mkdir()
        return ask(transformers_peer, "create_wrapped", folder, model_type, **options)["outputs"]

    return create


@each_model
@pytest.mark.parametrize(
    "way", ["save_model", "compiled", "compiled layer", "distributed", "attribute", "shards of the hub"]
)
def test_names_of_wrappers_and_dropped_tensors(model_type, way, created, compute, agree, folder):
    theirs = created(model_type, way)
    agree(compute(vertebra.Backbone.from_preset(folder), model_type), theirs, model_type)


@each_model
@pytest.mark.parametrize("way", ["pickle", "pickle of torch 1.5", "pickle of a training run", "pickled shards"])
def test_pickles_are_converted(model_type, way, created, compute, agree, folder, tmp_path):
    theirs = created(model_type, way)
    with pytest.raises(WeightsFileError, match="vertebra convert"):
        vertebra.Backbone.from_preset(folder)
    convert_preset(folder, tmp_path / "to", "transformers")
    agree(compute(vertebra.Backbone.from_preset(tmp_path / "to"), model_type), theirs, model_type)


def test_a_pickle_keeps_its_dtype(created, folder, tmp_path):
    created("gpt2", "pickle in bfloat16")
    convert_preset(folder, tmp_path / "to")
    backbone = vertebra.Backbone.from_preset(tmp_path / "to", dtype="bfloat16")
    assert {str(weight.dtype) for weight in backbone.weights} == {"bfloat16"}


@each_model
def test_an_adapter_that_is_not_merged_is_named(model_type, created, folder):
    created(model_type, "adapter")
    with pytest.raises(WeightsMismatchError, match=r"PEFT.*merge_and_unload"):
        vertebra.Backbone.from_preset(folder)
