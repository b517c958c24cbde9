"""BERT's translation: each field of a config is honoured, or refused by name, and each tensor has its place."""

import itertools
import json
import re
from pathlib import Path

import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st

from vertebra import TensorRule, activations
from vertebra.errors import PresetConfigError
from vertebra_bert.transformers import BertTransformers

GOLDEN = Path(__file__).parents[2] / "golden" / "bert"
DEFAULTS = {
    "vocabulary_size": 30522,
    "num_layers": 12,
    "num_heads": 12,
    "hidden_dim": 768,
    "intermediate_dim": 3072,
    "dropout": 0.1,
    "attention_dropout": None,
    "max_sequence_length": 512,
    "num_segments": 2,
    "activation": "gelu",
    "layer_norm_epsilon": 1e-12,
    "initializer_range": 0.02,
}


@pytest.fixture(scope="module")
def translation():
    return BertTransformers()


def config(name="transformers"):
    return json.loads((GOLDEN / name / "config.json").read_text(encoding="utf-8"))


def test_what_a_config_leaves_out_is_as_in_transformers(translation):
    assert translation.arguments({"model_type": "bert"}) == DEFAULTS


@pytest.mark.parametrize(
    ("field", "value", "argument"),
    [
        ("vocab_size", 7, "vocabulary_size"),
        ("num_hidden_layers", 3, "num_layers"),
        ("num_attention_heads", 4, "num_heads"),
        ("hidden_size", 32, "hidden_dim"),
        ("intermediate_size", 64, "intermediate_dim"),
        ("attention_probs_dropout_prob", 0.3, "attention_dropout"),
        ("max_position_embeddings", 16, "max_sequence_length"),
        ("type_vocab_size", 1, "num_segments"),
        ("hidden_act", "relu", "activation"),
        ("layer_norm_eps", 1e-5, "layer_norm_epsilon"),
        ("initializer_range", 0.5, "initializer_range"),
    ],
)
def test_a_field_is_honoured(field, value, argument, translation):
    assert translation.arguments({field: value}) == DEFAULTS | {argument: value}
    assert translation.arguments({field: None}) == DEFAULTS


def test_attention_dropout_follows_dropout_only_where_the_two_are_the_same(translation):
    same = translation.arguments({"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3})
    assert (same["dropout"], same["attention_dropout"]) == (0.3, None)
    other = translation.arguments({"hidden_dropout_prob": 0.0})
    assert (other["dropout"], other["attention_dropout"]) == (0.0, 0.1)


@pytest.mark.parametrize(
    ("field", "value"), [("num_hidden_layers", "3"), ("num_hidden_layers", 10**9), ("vocab_size", 0)]
)
def test_a_size_that_is_none_is_refused_by_name(field, value, translation):
    with pytest.raises(PresetConfigError, match=field):
        translation.arguments({field: value})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("gelu", "gelu"),
        ("gelu_python", "gelu"),
        ("gelu_new", "gelu_approximate"),
        ("gelu_fast", "gelu_approximate"),
        ("gelu_pytorch_tanh", "gelu_approximate"),
        ("silu", "silu"),
        ("swish", "silu"),
        ("tanh", "tanh"),
    ],
)
def test_activations_that_compute_the_same_are_known(theirs, ours, translation):
    assert translation.arguments({"hidden_act": theirs})["activation"] == ours


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("position_embedding_type", "relative_key"),
        ("position_embedding_type", "relative_key_query"),
        ("embedding_size", 128),
        ("pruned_heads", {"0": [1]}),
        ("quantization_config", {"bits": 4}),
        ("hidden_act", "prelu"),
        ("hidden_act", "os.system"),
        ("hidden_act", ["gelu"]),
        ("hidden_act", {"name": "gelu"}),
    ],
)
def test_a_field_that_makes_another_architecture_is_refused_by_name(field, value, translation):
    with pytest.raises(PresetConfigError) as caught:
        translation.arguments(config() | {field: value})
    assert caught.value.problem.startswith(f"{field} is ")


@pytest.mark.parametrize(
    "harmless",
    [
        {"is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute"},
        {"chunk_size_feed_forward": 2, "pruned_heads": {}, "quantization_config": None},
        {"use_cache": True, "architectures": ["BertForMaskedLM"], "transformers_version": "4.0", "unheard_of": 1},
    ],
)
def test_a_field_that_changes_nothing_changes_nothing(harmless, translation):
    assert translation.arguments(config() | harmless) == translation.arguments(config())


# === Tensors ===


def tensors(preset):
    """Names and shapes of a checkpoint's tensors."""
    with safetensors.safe_open(GOLDEN / preset / "model.safetensors", framework="np") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("preset", ["transformers", "transformers_bf16"])
def test_each_tensor_of_a_checkpoint_fills_one_weight(preset, translation):
    rules = translation.rules(translation.arguments(config(preset)))
    named = [rule.tensor for rule in rules.values()]
    assert len(set(named)) == len(named)
    assert set(named) == {translation.current_name(name) for name in tensors(preset)}


def test_kernels_are_transposed_and_nothing_else_is(translation):
    rules = translation.rules({"num_layers": 2})
    assert {weight for weight, rule in rules.items() if rule.transpose} == {
        weight for weight in rules if weight.endswith("/kernel")
    }
    shapes = tensors("transformers")
    assert all(len(shapes[rule.tensor]) == 2 for rule in rules.values() if rule.transpose)


def test_each_layer_has_its_own_rules(translation):
    counts = [len(translation.rules({"num_layers": layers})) for layers in range(4)]
    assert [later - earlier for earlier, later in itertools.pairwise(counts)] == [16, 16, 16]
    for weight, rule in translation.rules({"num_layers": 12}).items():
        assert re.findall(r"\d+", weight) == re.findall(r"\d+", rule.tensor)


def test_parts_of_a_layer_keep_their_place(translation):
    rules = translation.rules({"num_layers": 1})
    assert rules["transformer_layer_0/self_attention/value/bias"] == TensorRule(
        "encoder.layer.0.attention.self.value.bias"
    )
    assert rules["transformer_layer_0/feedforward_output_dense/kernel"] == TensorRule(
        "encoder.layer.0.output.dense.weight", transpose=True
    )
    assert rules["transformer_layer_0/self_attention_layer_norm/gamma"] == TensorRule(
        "encoder.layer.0.attention.output.LayerNorm.weight"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"),
        ("encoder.layer.0.output.LayerNorm.beta", "encoder.layer.0.output.LayerNorm.bias"),
        ("encoder.layer.0.output.dense.weight", "encoder.layer.0.output.dense.weight"),
        ("gamma", "gamma"),
    ],
)
def test_old_names_have_a_present_one(old, new, translation):
    assert translation.current_name(old) == new


# === Writing ===

sizes = st.integers(1, 2**24)
rates = st.floats(0, 0.99)
ARGUMENTS = st.fixed_dictionaries(
    {
        "vocabulary_size": sizes,
        "num_layers": st.integers(1, 1000),
        "num_heads": sizes,
        "hidden_dim": sizes,
        "intermediate_dim": sizes,
        "dropout": rates,
        "attention_dropout": st.none() | rates,
        "max_sequence_length": sizes,
        "num_segments": sizes,
        "activation": st.sampled_from(activations.NAMES),
        "layer_norm_epsilon": st.floats(0, 1),
        "initializer_range": st.floats(0, 1),
    }
)


OPTIONS = {"embedding_dim": None, "pooler": True}


@given(ARGUMENTS)
def test_what_is_written_is_read(arguments):
    translation = BertTransformers()
    again = translation.arguments(json.loads(json.dumps(translation.config(arguments | OPTIONS))))
    same_rate = arguments["attention_dropout"] == arguments["dropout"]  # None means the same
    assert again == (arguments | {"attention_dropout": None} if same_rate else arguments)


def test_what_is_written_has_every_field_that_is_read_and_says_its_type(translation):
    written = translation.config(DEFAULTS | OPTIONS)
    assert (written["model_type"], written["architectures"]) == ("bert", ["BertModel"])
    assert written.items() >= {"hidden_act": "gelu", "attention_probs_dropout_prob": 0.1}.items()
    assert translation.arguments(written) == translation.arguments({}) == DEFAULTS
    changed = {name: value + 1 for name, value in written.items() if type(value) is int and name != "pad_token_id"}
    assert all(translation.arguments(written | {name: value}) != DEFAULTS for name, value in changed.items())


def test_weights_without_a_tensor_there_are_none(translation):
    written = {rule.tensor for rule in translation.rules(translation.arguments(config())).values()}
    assert written == tensors("transformers").keys()
