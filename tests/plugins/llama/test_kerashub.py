"""The translations of KerasHub's presets: fields, refusals, shapes and numbers of layers."""

import pytest

from vertebra import TensorRule
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_llama.kerashub import LlamaKerasHub, MistralKerasHub, Phi3KerasHub, Qwen3KerasHub, QwenKerasHub
from vertebra_llama.kerashub_smollm3 import SmolLM3KerasHub
from vertebra_llama.rope_scaling import LENGTH, frequencies

CLASSES = (LlamaKerasHub, MistralKerasHub, QwenKerasHub, Qwen3KerasHub, Phi3KerasHub, SmolLM3KerasHub)
KINDS = {kind.name: kind() for kind in CLASSES}
each = pytest.mark.parametrize("name", KINDS)
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, LENGTH: 128, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONGROPE = {"rope_type": "longrope", "factor": 4.0, LENGTH: 16, "short_factor": [1.0, 2.0], "long_factor": [3.0, 4.0]}
OWN = {
    "Llama": {"rope_scaling": LLAMA3, "dropout": 0.1},
    "Mistral": {"sliding_window": 5, "rope_scaling": {"rope_type": "linear", "factor": 2.0}, "head_dim": 6},
    "Qwen": {"attention_bias": True, "attention_output_bias": False, "tie_word_embeddings": True},
    "Qwen3": {"query_key_norm": True, "query_key_norm_epsilon": 1e-5, "head_dim": 6},
    "Phi-3": {"rope_scaling": LONGROPE},
    "SmolLM3": {"tie_word_embeddings": True, "attention_bias": True, "attention_output_bias": False, "mlp_bias": True}
    | {"rope_layer_enabled_list": [True, False, True]},
}
"""Arguments of a plain Llama that are others in each class."""


@each
def test_what_is_written_is_read_back(name, plain):
    translation, arguments = KINDS[name], plain | OWN[name]
    again = translation.arguments(translation.config(arguments))
    unwritten = set(translation.ineffective_arguments(arguments))
    assert {key: value for key, value in arguments.items() if key not in unwritten}.items() <= again.items()
    expected = {"initializer_range", "query_key_norm_epsilon", "max_sequence_length"}
    expected -= {"query_key_norm_epsilon"} if name == "Qwen3" else set()
    assert unwritten == expected - ({"max_sequence_length"} if name in ("Phi-3", "SmolLM3") else set())


@each
def test_a_field_that_is_unknown_or_no_size_is_refused(name, plain):
    translation = KINDS[name]
    config = translation.config(plain | OWN[name])
    for change in ({"unheard_of": 1}, {"num_layers": 0}, {"vocabulary_size": "61"}):
        with pytest.raises(PresetConfigError, match=f"{next(iter(change))} is "):
            translation.arguments(config | change)


def test_fields_that_kerashub_ignores_are_ignored(plain):
    config = KINDS["Llama"].config(plain)
    assert KINDS["Llama"].arguments(config | {"rope_position_scaling_factor": 4.0}) == KINDS["Llama"].arguments(config)
    for name, change in (
        ("Qwen", {"use_sliding_window_attention": True, "sliding_window_size": 3}),
        ("Qwen3", {"sliding_window_size": 3}),
        ("SmolLM3", {"layer_types": ["sliding_attention"] * 3, "attention_dropout": 0.5}),
    ):
        config = KINDS[name].config(plain | OWN[name])
        assert KINDS[name].arguments(config | change) == KINDS[name].arguments(config)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("Phi-3", "rope_scaling_type", "yarn"),
        ("SmolLM3", "partial_rotary_factor", 0.5),
        ("SmolLM3", "rope_layer_enabled_list", [2]),
        ("SmolLM3", "rope_layer_enabled_list", None),
    ],
)
def test_a_field_that_cannot_be_honoured_is_refused_by_name(name, field, value, plain):
    config = KINDS[name].config(plain | OWN[name])
    with pytest.raises(PresetConfigError, match=f"{field} is "):
        KINDS[name].arguments(config | {field: value})


def test_layers_that_the_list_of_smollm3_does_not_reach_rotate(plain):
    config = KINDS["SmolLM3"].config(plain | OWN["SmolLM3"])
    found = KINDS["SmolLM3"].arguments(config | {"rope_layer_enabled_list": [False]})
    assert found["rope_layer_enabled_list"] == [False, True, True]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("Llama", {"activation": "gelu"}),
        ("Llama", {"head_dim": 6}),
        ("Llama", {"attention_bias": True}),
        ("Llama", {"sliding_window": 5}),
        ("Llama", {"attention_dropout": 0.5}),
        ("Llama", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
        ("Mistral", {"rope_scaling": LLAMA3}),
        ("Mistral", {"tie_word_embeddings": True}),
        ("Mistral", {"layer_types": ["full_attention"] * 2 + ["sliding_attention"]}),
        ("Qwen", {"attention_output_bias": True}),
        ("Qwen", {"sliding_window": 5}),
        ("Qwen3", {"query_key_norm_epsilon": None}),
        ("Qwen3", {"attention_bias": True}),
        ("Phi-3", {"tie_word_embeddings": True}),
        ("Phi-3", {"partial_rotary_factor": 0.5}),
        ("Phi-3", {"rope_scaling": LONGROPE | {"factor": 2.0}}),
        ("Phi-3", {"rope_scaling": LONGROPE | {"attention_factor": 2.0}}),
        ("Phi-3", {"rope_scaling": LLAMA3}),
        ("SmolLM3", {"tie_word_embeddings": False}),
        ("SmolLM3", {"attention_output_bias": True}),
        ("SmolLM3", {"attention_dropout": 0.5}),
        ("SmolLM3", {"rope_scaling": LLAMA3}),
    ],
    ids=str,
)
def test_what_the_format_cannot_say_is_refused_by_name(name, changes, plain):
    with pytest.raises(FormatLimitError) as caught:
        KINDS[name].config(plain | OWN[name] | changes)
    argument = next(iter(changes))
    assert (caught.value.format, caught.value.argument, caught.value.value) == ("kerashub", argument, changes[argument])


def test_projections_have_an_axis_for_the_heads(plain):
    rules = KINDS["Qwen"].rules(plain | OWN["Qwen"])
    ours, theirs = "transformer_layer_1/self_attention", "layers/qwen_transformer_decoder_1/_self_attention_layer"
    assert rules[f"{ours}/query/kernel"] == TensorRule(f"{theirs}/_query_dense/vars/0", shape=(16, 4, 4))
    assert rules[f"{ours}/key/bias"] == TensorRule(f"{theirs}/_key_dense/vars/1", shape=(2, 4))
    assert rules[f"{ours}/attention_output/kernel"] == TensorRule(f"{theirs}/_output_dense/vars/0", shape=(4, 4, 16))
    assert "token_embedding/reverse_embeddings" not in rules


@each
def test_each_tensor_fills_one_weight(name, plain):
    rules = KINDS[name].rules(plain | OWN[name])
    assert len({rule.tensor for rule in rules.values()}) == len(rules)
    kernels = {weight.rpartition("/")[0] for weight in rules if weight.endswith("/kernel")}
    assert set(KINDS[name].numbered_layers(plain).values()) == kernels


def test_smollm3_s_frequencies_are_written_for_each_layer(plain):
    translation, arguments = KINDS["SmolLM3"], plain | OWN["SmolLM3"]
    found = translation.constants(arguments)
    layers = [f"layers/smol_lm3_decoder_layer{end}/self_attn/rotary_embedding/vars/0" for end in ("", "_1", "_2")]
    assert list(found) == layers
    assert all((array == frequencies(4, 10_000.0, None).usual).all() for array in found.values())
    assert not found.keys() & {rule.tensor for rule in translation.rules(arguments).values()}
    assert KINDS["Llama"].constants(arguments) == {}
