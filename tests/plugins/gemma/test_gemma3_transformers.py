"""Gemma 3's translation: each field of a config is honoured, or refused by name; configs of all releases are read."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra import TensorRule, activations
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_gemma.gemma3_transformers import Gemma3Transformers

SLIDING, FULL = "sliding_attention", "full_attention"
GEMMA3 = {
    "vocabulary_size": 262_208,
    "num_layers": 26,
    "num_query_heads": 8,
    "num_key_value_heads": 4,
    "hidden_dim": 2304,
    "intermediate_dim": 9216,
    "head_dim": 256,
    "query_head_dim_normalize": True,
    "use_query_key_norm": True,
    "use_post_ffw_norm": True,
    "use_post_attention_norm": True,
    "attention_logit_soft_cap": None,
    "final_logit_soft_cap": None,
    "use_sliding_window_attention": True,
    "sliding_window_size": 4096,
    "local_rope_scaling_factor": 1.0,
    "global_rope_scaling_factor": 1.0,
    "layer_norm_epsilon": 1e-6,
    "use_bidirectional_attention": False,
    "dropout": 0.0,
    "query_pre_attention_scalar": None,
    "local_rope_max_wavelength": 10_000.0,
    "global_rope_max_wavelength": 1_000_000.0,
    "activation": "gelu_approximate",
    "attention_bias": False,
    "attention_dropout": None,
    "layer_types": None,
    "initializer_range": None,
}
LINEAR = {"rope_type": "linear", "factor": 8.0}
ALTERNATING = [SLIDING, FULL] * 13
TEXT = "gemma3_text"


@pytest.fixture(scope="module")
def translation():
    return Gemma3Transformers()


# === Reading ===


@pytest.mark.parametrize("config", [{"model_type": TEXT}, {"model_type": "gemma3"}], ids=str)
def test_what_a_config_leaves_out_is_as_in_transformers(translation, config):
    assert translation.arguments(config) == GEMMA3


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({"vocab_size": 7}, {"vocabulary_size": 7}),
        ({"num_hidden_layers": 3}, {"num_layers": 3}),
        ({"num_attention_heads": 4}, {"num_query_heads": 4}),
        ({"num_key_value_heads": 1}, {"num_key_value_heads": 1}),
        ({"hidden_size": 32}, {"hidden_dim": 32}),
        ({"intermediate_size": 63}, {"intermediate_dim": 63}),
        ({"rms_norm_eps": 1e-5}, {"layer_norm_epsilon": 1e-5}),
        ({"attention_bias": True}, {"attention_bias": True}),
        ({"attention_dropout": 0.3}, {"attention_dropout": 0.3}),
        ({"initializer_range": 0.5}, {"initializer_range": 0.5}),
        ({"hidden_activation": "silu"}, {"activation": "silu"}),
        ({"final_logit_softcapping": 20.0}, {"final_logit_soft_cap": 20.0}),
        ({"query_pre_attn_scalar": 288}, {"query_head_dim_normalize": False}),
        ({"query_pre_attn_scalar": 144}, {"query_pre_attention_scalar": 144}),
        ({"use_bidirectional_attention": True}, {"use_bidirectional_attention": True}),
        ({"sliding_window": 512}, {"sliding_window_size": 512}),
        ({"layer_types": ALTERNATING}, {"layer_types": ALTERNATING}),
        ({"layer_types": [FULL] * 26}, {"use_sliding_window_attention": False}),
        ({"layer_types": [FULL] * 26, "sliding_window": None}, {"use_sliding_window_attention": False}),
        # transformers 4
        ({"sliding_window_pattern": 6}, {}),
        ({"sliding_window_pattern": 2}, {"layer_types": ALTERNATING}),
        ({"sliding_window_pattern": 1}, {"use_sliding_window_attention": False}),
        ({"sliding_window_pattern": 3, "layer_types": ALTERNATING}, {"layer_types": ALTERNATING}),
        ({"rope_theta": 500.0}, {"global_rope_max_wavelength": 500.0}),
        ({"rope_local_base_freq": 50.0}, {"local_rope_max_wavelength": 50.0}),
        ({"rope_scaling": LINEAR}, {"global_rope_scaling_factor": 8.0}),
        ({"rope_scaling": {"type": "linear", "factor": 8.0}}, {"global_rope_scaling_factor": 8.0}),
        # transformers 5
        ({"rope_parameters": {FULL: LINEAR}}, {"global_rope_scaling_factor": 8.0}),
        ({"rope_parameters": {FULL: {"rope_theta": 500.0}}}, {"global_rope_max_wavelength": 500.0}),
        ({"rope_parameters": {SLIDING: LINEAR}}, {"local_rope_scaling_factor": 8.0}),
        ({"rope_parameters": {SLIDING: {"rope_theta": 50.0}, FULL: None}}, {"local_rope_max_wavelength": 50.0}),
        ({"rope_parameters": {FULL: {}}, "rope_scaling": LINEAR}, {"global_rope_scaling_factor": 8.0}),
    ],
    ids=str,
)
def test_a_field_is_honoured(translation, fields, arguments):
    assert translation.arguments({"model_type": TEXT, **fields}) == GEMMA3 | arguments
    if not fields.get("use_bidirectional_attention"):
        assert translation.arguments({"model_type": "gemma3", "text_config": fields}) == GEMMA3 | arguments
    nothing = dict.fromkeys(fields) | {"sliding_window": 4096}
    assert translation.arguments({"model_type": TEXT, **nothing}) == GEMMA3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("use_bidirectional_attention", "all"),
        ("attn_logit_softcapping", 50.0),
        ("is_causal", False),
        ("quantization_config", {"bits": 4}),
        ("sliding_window", None),
        ("sliding_window_pattern", 0),
        ("sliding_window_pattern", "6"),
        ("layer_types", [FULL]),
        ("layer_types", "full_attention"),
        ("layer_types", [SLIDING] * 25 + ["chunked_attention"]),
        ("rope_scaling", {"rope_type": "dynamic", "factor": 2.0}),
        ("rope_scaling", {"rope_type": "linear"}),
        ("rope_scaling", "linear"),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 500.0}),
        ("rope_parameters", ["linear"]),
        ("hidden_activation", "prelu"),
        ("num_hidden_layers", 10**9),
        ("head_dim", 2.0),
    ],
)
def test_a_field_that_cannot_be_honoured_is_refused_by_name(translation, field, value):
    for config in ({field: value, "model_type": TEXT}, {"model_type": "gemma3", "text_config": {field: value}}):
        with pytest.raises(PresetConfigError) as caught:
            translation.arguments(config)
        assert caught.value.problem.startswith(f"{field} is {value!r}")


@pytest.mark.parametrize("parameters", [{FULL: ["linear"]}, {SLIDING: {"rope_type": "yarn", "factor": 2.0}}], ids=str)
def test_rotations_of_one_type_are_refused_by_name(translation, parameters):
    with pytest.raises(PresetConfigError, match=r"^config\.json of .*rope_parameters is "):
        translation.arguments({"model_type": TEXT, "rope_parameters": parameters})


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"text_config": ["gemma"]}, "text_config"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"text_config": {"use_bidirectional_attention": True}}, "use_bidirectional_attention"),
    ],
    ids=str,
)
def test_a_multimodal_config_that_cannot_be_honoured_is_refused_by_name(translation, config, field):
    with pytest.raises(PresetConfigError) as caught:
        translation.arguments({"model_type": "gemma3", **config})
    assert caught.value.problem.startswith(f"{field} is ")


# === Writing ===


def positive(most):
    return st.floats(0.001, most)


@st.composite
def representable(draw):
    """Draws arguments that the format can say, as a reader of its configs would have them."""
    count, groups, keys = draw(st.integers(1, 13)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    by_width, head_dim = draw(st.integers(1, 20)), 2 * draw(st.integers(1, 10))
    types = draw(st.lists(st.sampled_from([SLIDING, FULL]), min_size=count, max_size=count))
    types = draw(st.sampled_from([types, [FULL if i % 6 == 5 else SLIDING for i in range(count)]]))
    by_default = types == [FULL if i % 6 == 5 else SLIDING for i in range(count)]
    scalar = draw(st.sampled_from([head_dim, by_width, 777]))
    known = scalar in (head_dim, by_width)
    return GEMMA3 | {
        "vocabulary_size": draw(st.integers(1, 300_000)),
        "num_layers": count,
        "num_query_heads": groups * keys,
        "num_key_value_heads": keys,
        "hidden_dim": groups * keys * by_width,
        "intermediate_dim": draw(st.integers(1, 99)),
        "head_dim": head_dim,
        "final_logit_soft_cap": draw(st.none() | positive(100)),
        "sliding_window_size": draw(st.integers(1, 9999)),
        "local_rope_scaling_factor": draw(positive(16)),
        "global_rope_scaling_factor": draw(positive(16)),
        "layer_norm_epsilon": draw(positive(1)),
        "use_bidirectional_attention": draw(st.booleans()),
        "local_rope_max_wavelength": draw(positive(1e6)),
        "global_rope_max_wavelength": draw(positive(1e6)),
        "activation": draw(st.sampled_from(activations.NAMES)),
        "attention_bias": draw(st.booleans()),
        "attention_dropout": draw(st.none() | positive(0.9)),
        "initializer_range": draw(st.none() | positive(1)),
        "use_sliding_window_attention": SLIDING in types,
        "layer_types": types if SLIDING in types and not by_default else None,
        "query_head_dim_normalize": scalar == head_dim or not known,
        "query_pre_attention_scalar": None if known else scalar,
    }


@given(representable())
def test_what_is_written_is_read_back(arguments):
    translation = Gemma3Transformers()
    written = translation.config(arguments)
    assert json.loads(json.dumps(written)) == written
    assert translation.arguments(written) == arguments


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("dropout", 0.1),
        ("use_query_key_norm", False),
        ("use_post_ffw_norm", False),
        ("use_post_attention_norm", False),
        ("attention_logit_soft_cap", 50.0),
        ("query_pre_attention_scalar", 2.5),
        ("num_query_heads", 7),
    ],
)
def test_what_the_format_cannot_say_is_refused_by_name(translation, argument, value):
    with pytest.raises(FormatLimitError) as caught:
        translation.config(GEMMA3 | {argument: value})
    assert (caught.value.format, caught.value.argument, caught.value.value) == ("transformers", argument, value)


# === Tensors ===


@pytest.mark.parametrize("bias", [False, True])
def test_each_layer_has_its_own_rules(translation, bias):
    one, two = (translation.rules(GEMMA3 | {"attention_bias": bias, "num_layers": count}) for count in (1, 2))
    assert len(two) - len(one) == 13 + 4 * bias
    for weight, rule in two.items():
        assert re.findall(r"_block_(\d+)", weight) == re.findall(r"layers\.(\d+)", rule.tensor)
        assert rule.transpose == weight.endswith("/kernel")
    norm = two["decoder_block_1/attention/query_norm/scale"]
    assert norm == TensorRule("layers.1.self_attn.q_norm.weight")
