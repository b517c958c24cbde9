"""The translations: each field of a config is honoured, or refused by name, and each tensor has its place."""

import json

import pytest

from vertebra import TensorRule
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_llama.layer_types import FULL, SLIDING
from vertebra_llama.model_types import (
    MistralTransformers,
    Phi3Transformers,
    Qwen2Transformers,
    Qwen3Transformers,
    SmolLM3Transformers,
)
from vertebra_llama.rope_scaling import LENGTH
from vertebra_llama.transformers import LlamaTransformers

CLASSES = (LlamaTransformers, MistralTransformers, Qwen2Transformers, Qwen3Transformers, SmolLM3Transformers)
KINDS = {kind.model_type: kind() for kind in (*CLASSES, Phi3Transformers)}
each = pytest.mark.parametrize("kind", KINDS)
SIZES = {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 4}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, LENGTH: 128, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0, LENGTH: 128}
LONGROPE = {"rope_type": "longrope", "factor": 4.0, LENGTH: 128, "short_factor": [1.0, 2.0], "long_factor": [3.0, 4.0]}


def read(kind, **fields):
    return KINDS[kind].arguments({"model_type": kind, **SIZES, **fields})


# === Reading ===


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("llama", {"vocabulary_size": 32000, "num_key_value_heads": 4, "intermediate_dim": 11008}),
        ("mistral", {"num_key_value_heads": 8, "sliding_window": 4096, "max_sequence_length": 131072}),
        ("qwen2", {"num_key_value_heads": 32, "attention_bias": True, "attention_output_bias": False}),
        ("qwen3", {"query_key_norm": True, "head_dim": 128, "attention_bias": False}),
        ("smollm3", {"rope_max_wavelength": 2e6, "tie_word_embeddings": True, "num_key_value_heads": 4}),
        ("phi3", {"layer_norm_epsilon": 1e-5, "sliding_window": None, "vocabulary_size": 32064}),
    ],
)
def test_what_a_config_leaves_out_is_as_in_transformers(kind, expected):
    assert read(kind).items() >= expected.items()


def test_without_a_list_every_fourth_layer_of_smollm3_does_not_rotate():
    assert read("smollm3", num_hidden_layers=5)["rope_layer_enabled_list"] == [True, True, True, False, True]
    assert read("smollm3", no_rope_layers=[1, 0, 1])["rope_layer_enabled_list"] == [True, False, True]
    assert read("smollm3", no_rope_layers=[1, 1, 1])["rope_layer_enabled_list"] is None
    assert read("smollm3", no_rope_layer_interval=2)["rope_layer_enabled_list"] == [True, False, True]


@each
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"vocab_size": 7}, {"vocabulary_size": 7}),
        ({"num_key_value_heads": 1}, {"num_key_value_heads": 1}),
        ({"num_key_value_heads": None}, {"num_key_value_heads": 4}),
        ({"max_position_embeddings": 99}, {"max_sequence_length": 99}),
        ({"rms_norm_eps": 0.1}, {"layer_norm_epsilon": 0.1}),
        ({"hidden_act": "gelu"}, {"activation": "gelu"}),
        ({"attention_dropout": 0.5}, {"attention_dropout": 0.5}),
        ({"initializer_range": 0.5}, {"initializer_range": 0.5}),
        ({"tie_word_embeddings": True}, {"tie_word_embeddings": True}),
        ({"head_dim": 6}, {"head_dim": 6}),
        ({"head_dim": 4}, {"head_dim": None}),
        ({"rope_theta": 500.0}, {"rope_max_wavelength": 500.0, "rope_scaling": None}),
        ({"rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}}, {"rope_max_wavelength": 500.0}),
        ({"rope_theta": 7.0, "rope_parameters": {"rope_theta": 500.0}}, {"rope_max_wavelength": 500.0}),
        ({"rope_scaling": None, "rope_parameters": None, "unheard_of": 1}, {"rope_scaling": None}),
    ],
    ids=str,
)
def test_a_field_is_honoured(kind, fields, expected):
    assert read(kind, **fields).items() >= expected.items()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rope_type": "linear", "factor": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        ({"type": "linear", "factor": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        ({"rope_type": "dynamic", "factor": 2.0, LENGTH: 9}, {"rope_type": "dynamic", "factor": 2.0, LENGTH: 256}),
        (YARN, YARN),
        ({"rope_type": "yarn", "factor": 4.0}, YARN | {LENGTH: 256}),
        (YARN | {"factor": None}, YARN | {"factor": 2.0}),
        (YARN | {"beta_fast": None, "truncate": False, "new": 1}, YARN | {"truncate": False}),
        (LLAMA3, LLAMA3),
        (LONGROPE, LONGROPE),
        (LONGROPE | {"rope_type": "su", "factor": None}, LONGROPE | {"factor": 2.0}),
    ],
    ids=str,
)
@pytest.mark.parametrize("field", ["rope_scaling", "rope_parameters"])
def test_scalings_are_those_of_releases_4_and_5(field, given, expected):
    found = read("llama", max_position_embeddings=256, rope_theta=500.0, **{field: given})
    assert (found["rope_scaling"], found["rope_max_wavelength"]) == (expected, 500.0)


def test_a_length_of_the_config_comes_before_that_of_the_table():
    for kind, given in (("llama", YARN), ("phi3", LONGROPE)):
        found = read(kind, rope_parameters=given, original_max_position_embeddings=64)
        assert found["rope_scaling"] == given | {LENGTH: 64}
    assert read("phi3", rope_parameters=LONGROPE)["rope_scaling"][LENGTH] == 4096


def test_phi3_calls_longrope_yarn():
    given = {name: value for name, value in LONGROPE.items() if name not in ("rope_type", "factor")}
    found = read("phi3", rope_scaling={"type": "yarn", **given}, max_position_embeddings=8192)
    assert found["rope_scaling"] == LONGROPE | {"factor": 2.0, LENGTH: 4096}


def test_phi3_rotates_a_part_of_a_head_and_drops_outputs():
    assert read("phi3", partial_rotary_factor=0.5)["partial_rotary_factor"] == 0.5
    assert read("phi3", rope_parameters={"partial_rotary_factor": 0.5})["partial_rotary_factor"] == 0.5
    found = read("phi3", resid_pdrop=0.1, attention_dropout=0.1)
    assert (found["dropout"], found["attention_dropout"]) == (0.1, None)


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_windows_of_qwen(kind):
    window = {"use_sliding_window": True, "sliding_window": 5}
    found = read(kind, **window, max_window_layers=1)
    assert (found["sliding_window"], found["layer_types"]) == (5, [FULL, SLIDING, SLIDING])
    found = read(kind, **window, max_window_layers=0)
    assert (found["sliding_window"], found["layer_types"]) == (5, None)
    for fields in (window, {"sliding_window": 5}, window | {"layer_types": [FULL] * 3}):
        found = read(kind, **fields)
        assert (found["sliding_window"], found["layer_types"]) == (None, None)
    found = read(kind, **window, layer_types=[SLIDING, FULL, FULL])
    assert (found["sliding_window"], found["layer_types"]) == (5, [SLIDING, FULL, FULL])


@each
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantization_config", {"bits": 4}),
        ("is_causal", False),
        ("use_bidirectional_attention", True),
        ("num_hidden_layers", "3"),
        ("vocab_size", 0),
        ("head_dim", 2.5),
        ("hidden_act", "prelu"),
        ("rope_theta", -1),
        ("partial_rotary_factor", 1.5),
        ("rope_scaling", {"rope_type": "mrope"}),
        ("rope_scaling", ["linear"]),
        ("rope_parameters", {FULL: {"rope_type": "default"}}),
        ("rope_parameters", {"rope_type": ["linear"]}),
    ],
    ids=str,
)
def test_a_field_that_cannot_be_honoured_is_refused_by_name(kind, field, value):
    with pytest.raises(PresetConfigError) as caught:
        read(kind, **{field: value})
    assert caught.value.problem.startswith(f"{field} is ")


@pytest.mark.parametrize(
    ("kind", "field", "fields"),
    [
        ("llama", "partial_rotary_factor", {"partial_rotary_factor": 0.5}),
        ("llama", "rope_scaling", {"rope_scaling": {"rope_type": "linear"}}),
        ("llama", "rope_parameters", {"rope_parameters": LONGROPE | {"short_factor": [1.0]}}),
        ("mistral", "sliding_window", {"sliding_window": 0}),
        ("qwen2", "layer_types", {"layer_types": [SLIDING, FULL, FULL]}),
        ("qwen2", "layer_types", {"layer_types": [FULL, FULL]}),
        ("qwen2", "max_window_layers", {"use_sliding_window": True, "max_window_layers": "1"}),
        ("qwen3", "layer_types", {"layer_types": [FULL, "chunked_attention", FULL]}),
        ("smollm3", "no_rope_layers", {"no_rope_layers": [1, 0]}),
        ("smollm3", "no_rope_layers", {"no_rope_layers": [1, 2, 1]}),
        ("phi3", "rope_scaling", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    ],
    ids=str,
)
def test_a_field_of_one_model_type_is_refused_by_name(kind, field, fields):
    with pytest.raises(PresetConfigError, match=f"{field} is "):
        read(kind, **fields)


# === Writing ===

OWN = {
    "llama": {"attention_bias": True, "mlp_bias": True, "rope_scaling": LLAMA3, "head_dim": 6},
    "mistral": {"sliding_window": 5, "rope_scaling": YARN | {"attention_factor": 1.5}},
    "qwen2": {"sliding_window": 5, "layer_types": [FULL, SLIDING, FULL], "tie_word_embeddings": True}
    | {"attention_bias": True, "attention_output_bias": False},
    "qwen3": {"query_key_norm": True, "attention_bias": True, "head_dim": 6},
    "smollm3": {"rope_layer_enabled_list": [True, False, True], "mlp_bias": True, "tie_word_embeddings": True},
    "phi3": {"dropout": 0.1, "attention_dropout": 0.3, "partial_rotary_factor": 0.5, "sliding_window": 5}
    | {"rope_scaling": LONGROPE | {"short_factor": [1.0], "long_factor": [2.0]}},
}
"""Arguments of a plain Llama that are others in each model type."""


@each
@pytest.mark.parametrize("others", [{}, {"attention_dropout": 0.3, "activation": "gelu", "initializer_range": 0.5}])
def test_what_is_written_is_read_back(kind, others, plain):
    arguments = plain | OWN[kind] | others
    written = KINDS[kind].config(arguments)
    assert json.loads(json.dumps(written)) == written
    assert written["model_type"] == kind
    assert KINDS[kind].arguments(written) == arguments


@each
def test_the_class_is_that_with_a_head_if_the_head_has_a_matrix(kind, plain):
    for tied, end in ((True, "Model"), (False, "ForCausalLM")):
        arguments = plain | OWN[kind] | {"tie_word_embeddings": tied}
        (name,) = KINDS[kind].config(arguments)["architectures"]
        assert name == KINDS[kind].name + end
        rules = KINDS[kind].rules(arguments)
        assert any(rule.outside for rule in rules.values()) is not tied
        assert (rules["token_embedding/embeddings"].tied == "lm_head.weight") is tied


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {"query_key_norm": True}),
        ("llama", {"sliding_window": 5}),
        ("llama", {"partial_rotary_factor": 0.5}),
        ("llama", {"rope_layer_enabled_list": [True, False, True]}),
        ("llama", {"attention_output_bias": False}),
        ("llama", {"dropout": 0.5}),
        ("llama", {"num_query_heads": 6, "head_dim": 4}),
        ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0, LENGTH: 9}}),
        ("mistral", {"attention_bias": True}),
        ("mistral", {"layer_types": [SLIDING, FULL, FULL], "sliding_window": 5}),
        ("qwen2", {"attention_bias": False}),
        ("qwen2", {"mlp_bias": True}),
        ("qwen3", {"query_key_norm": False}),
        ("qwen3", {"query_key_norm_epsilon": 1e-5}),
        ("smollm3", {"query_key_norm": True}),
        ("phi3", {"head_dim": 6, "rope_scaling": None, "partial_rotary_factor": 1.0}),
        ("phi3", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
        ("phi3", {"mlp_bias": True}),
    ],
    ids=str,
)
def test_what_the_format_cannot_say_is_refused_by_name(kind, changes, plain):
    arguments = plain | OWN[kind] | {"attention_output_bias": False if kind == "qwen2" else None} | changes
    if "attention_output_bias" in changes:
        arguments |= {"attention_bias": True}
    with pytest.raises(FormatLimitError) as caught:
        KINDS[kind].config(arguments)
    name = next(iter(changes))
    assert (caught.value.format, caught.value.argument, caught.value.value) == ("transformers", name, arguments[name])


def test_equal_meanings_are_written_alike(plain):
    llama, qwen = KINDS["llama"], KINDS["qwen3"]
    same = {"attention_output_bias": False, "rope_layer_enabled_list": [True] * 3, "head_dim": 4}
    assert llama.config(plain | same | {"query_key_norm_epsilon": 0.5}) == llama.config(plain)
    assert llama.ineffective_arguments(plain) == ("query_key_norm_epsilon",)
    normed = plain | {"query_key_norm": True}
    assert qwen.config(normed | {"query_key_norm_epsilon": 1e-6}) == qwen.config(normed)
    assert qwen.ineffective_arguments(normed) == ()


# === Tensors ===


def test_phi3_s_projections_are_parts_of_fused_tensors(plain):
    rules = KINDS["phi3"].rules(plain | OWN["phi3"])
    attention, qkv = "transformer_layer_1/self_attention", "layers.1.self_attn.qkv_proj.weight"
    for name, part in (("query", (0, 8, 4)), ("key", (4, 8, 2)), ("value", (6, 8, 2))):
        assert rules[f"{attention}/{name}/kernel"] == TensorRule(qkv, transpose=True, part=part)
    gate_up = "layers.1.mlp.gate_up_proj.weight"
    for name, part in (("gate", (0, 2)), ("intermediate", (1, 2))):
        rule = rules[f"transformer_layer_1/feedforward_{name}_dense/kernel"]
        assert rule == TensorRule(gate_up, transpose=True, part=part)


@pytest.mark.parametrize(
    ("kind", "count"),
    [("llama", 9 + 4 + 3), ("mistral", 9), ("qwen2", 9 + 3), ("qwen3", 9 + 4 + 2), ("smollm3", 9 + 3)],
)
def test_each_tensor_fills_one_weight(kind, count, plain):
    counts = []
    for layers in (1, 2):
        rules = KINDS[kind].rules(plain | OWN[kind] | {"num_layers": layers})
        assert len({rule.tensor for rule in rules.values()}) == len(rules)
        counts.append(len(rules))
    assert counts[1] - counts[0] == count
    assert all(rule.transpose == (weight.endswith("/kernel") or rule.outside) for weight, rule in rules.items())
