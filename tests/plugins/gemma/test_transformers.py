"""Gemma's translation: each field of a config is honoured, or refused by name, and each tensor has its place."""

import itertools
import json
import re
from pathlib import Path

import pytest
import safetensors
from hypothesis import assume, given
from hypothesis import strategies as st

from vertebra import TensorRule, activations
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_gemma.transformers import GemmaTransformers

GOLDEN = Path(__file__).parents[2] / "golden"
GEMMA1 = {
    "vocabulary_size": 256000,
    "num_layers": 28,
    "num_query_heads": 16,
    "num_key_value_heads": 16,
    "hidden_dim": 3072,
    "intermediate_dim": 49152,
    "head_dim": 256,
    "query_head_dim_normalize": True,
    "use_post_ffw_norm": False,
    "use_post_attention_norm": False,
    "attention_logit_soft_cap": None,
    "final_logit_soft_cap": None,
    "use_sliding_window_attention": False,
    "sliding_window_size": 4096,
    "layer_norm_epsilon": 1e-6,
    "dropout": 0.0,
    "query_pre_attention_scalar": None,
    "rope_max_wavelength": 10_000.0,
    "rope_scaling_factor": 1.0,
    "activation": "gelu_approximate",
    "attention_bias": False,
    "attention_dropout": None,
    "layer_types": None,
    "initializer_range": None,
}
GEMMA2 = GEMMA1 | {
    "num_layers": 26,
    "num_query_heads": 8,
    "num_key_value_heads": 4,
    "hidden_dim": 2304,
    "intermediate_dim": 18432,
    "use_post_ffw_norm": True,
    "use_post_attention_norm": True,
    "attention_logit_soft_cap": 50.0,
    "final_logit_soft_cap": 30.0,
    "use_sliding_window_attention": True,
}
VAULT = GEMMA2 | {"use_post_ffw_norm": False, "use_post_attention_norm": False}
DEFAULTS = {"gemma": GEMMA1, "gemma2": GEMMA2, "vaultgemma": VAULT}
SLIDING, FULL = "sliding_attention", "full_attention"


@pytest.fixture(scope="module")
def translation():
    return GemmaTransformers()


def config(preset="gemma/transformers"):
    return json.loads((GOLDEN / preset / "config.json").read_text(encoding="utf-8"))


# === Reading ===


@pytest.mark.parametrize("model_type", DEFAULTS)
def test_what_a_config_leaves_out_is_as_in_transformers(translation, model_type):
    assert translation.arguments({"model_type": model_type}) == DEFAULTS[model_type]


@pytest.mark.parametrize("model_type", DEFAULTS)
@pytest.mark.parametrize(
    ("field", "value", "argument", "means"),
    [
        ("vocab_size", 7, "vocabulary_size", 7),
        ("num_hidden_layers", 3, "num_layers", 3),
        ("num_attention_heads", 4, "num_query_heads", 4),
        ("num_key_value_heads", 1, "num_key_value_heads", 1),
        ("hidden_size", 32, "hidden_dim", 32),
        ("intermediate_size", 64, "intermediate_dim", 128),
        ("rms_norm_eps", 1e-5, "layer_norm_epsilon", 1e-5),
        ("attention_bias", True, "attention_bias", True),
        ("attention_dropout", 0.3, "attention_dropout", 0.3),
        ("initializer_range", 0.5, "initializer_range", 0.5),
        ("rope_theta", 500.0, "rope_max_wavelength", 500.0),
        ("rope_parameters", {"rope_theta": 500.0, "rope_type": "default"}, "rope_max_wavelength", 500.0),
        ("rope_parameters", {"factor": 2.0, "rope_type": "linear"}, "rope_scaling_factor", 2.0),
        ("rope_scaling", {"factor": 2.0, "rope_type": "linear"}, "rope_scaling_factor", 2.0),
        ("rope_scaling", {"factor": 2.0, "type": "linear"}, "rope_scaling_factor", 2.0),
    ],
)
def test_a_field_is_honoured(translation, model_type, field, value, argument, means):
    found = translation.arguments({"model_type": model_type, field: value})
    assert found == DEFAULTS[model_type] | {argument: means}
    assert translation.arguments({"model_type": model_type, field: None}) == DEFAULTS[model_type]


@pytest.mark.parametrize("model_type", ["gemma2", "vaultgemma"])
@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({"attn_logit_softcapping": 20.0}, {"attention_logit_soft_cap": 20.0}),
        ({"attn_logit_softcapping": None}, {"attention_logit_soft_cap": None}),
        ({"final_logit_softcapping": 20.0}, {"final_logit_soft_cap": 20.0}),
        ({"final_logit_softcapping": None}, {"final_logit_soft_cap": None}),
        ({"sliding_window": 8}, {"sliding_window_size": 8}),
        ({"sliding_window": None}, {"use_sliding_window_attention": False}),
        ({"layer_types": [FULL] * 26}, {"use_sliding_window_attention": False}),
        ({"layer_types": [SLIDING, FULL] * 13}, {}),
        ({"layer_types": [FULL, SLIDING] * 13}, {"layer_types": [FULL, SLIDING] * 13}),
        ({"query_pre_attn_scalar": 256}, {}),
        ({"query_pre_attn_scalar": 288}, {"query_head_dim_normalize": False}),
        ({"query_pre_attn_scalar": 144}, {"query_pre_attention_scalar": 144}),
        ({"head_dim": 144}, {"head_dim": 144, "query_pre_attention_scalar": 256}),
    ],
    ids=str,
)
def test_a_field_of_gemma_2_is_honoured(translation, model_type, fields, arguments):
    assert translation.arguments({"model_type": model_type, **fields}) == DEFAULTS[model_type] | arguments


def test_the_wavelength_is_wherever_a_release_of_transformers_put_it(translation):
    old = {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 3.0}}
    new = {"rope_parameters": {"rope_theta": 500.0, "rope_type": "linear", "factor": 3.0}}
    read = [translation.arguments({"model_type": "gemma", **fields}) for fields in (old, new)]
    assert read[0] == read[1] == GEMMA1 | {"rope_max_wavelength": 500.0, "rope_scaling_factor": 3.0}


@pytest.mark.parametrize(
    ("fields", "means"),
    [
        ({"hidden_act": "gelu"}, "gelu_approximate"),
        ({"hidden_act": "gelu", "hidden_activation": None}, "gelu_approximate"),
        ({"hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh"}, "gelu_approximate"),
        ({"hidden_act": None, "hidden_activation": "gelu_pytorch_tanh"}, "gelu_approximate"),
        ({"hidden_act": "gelu_python"}, "gelu"),
        ({"hidden_act": "silu", "hidden_activation": "swish"}, "silu"),
    ],
    ids=str,
)
def test_the_activation_of_gemma_1_is_that_of_both_fields(translation, fields, means):
    assert translation.arguments({"model_type": "gemma", **fields})["activation"] == means


@pytest.mark.parametrize(
    ("name", "means"), [("gelu", "gelu"), ("gelu_pytorch_tanh", "gelu_approximate"), ("relu", "relu")]
)
def test_the_activation_of_gemma_2_has_one_field(translation, name, means):
    fields = {"model_type": "gemma2", "hidden_activation": name, "hidden_act": "mish"}
    assert translation.arguments(fields)["activation"] == means


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("use_bidirectional_attention", True),
        ("is_causal", False),
        ("add_cross_attention", True),
        ("partial_rotary_factor", 0.5),
        ("quantization_config", {"bits": 4}),
        ("rope_scaling", {"type": "dynamic", "factor": 2.0}),
        ("rope_parameters", {"rope_type": "yarn", "factor": 2.0}),
        ("rope_parameters", {"rope_type": "linear"}),
        ("rope_parameters", {SLIDING: {"rope_type": "default"}}),
        ("rope_parameters", ["linear"]),
        ("hidden_act", "prelu"),
        ("hidden_act", ["gelu"]),
        ("hidden_activation", "relu"),
        ("hidden_activation", {"name": "gelu"}),
        ("num_hidden_layers", "3"),
        ("num_hidden_layers", 10**9),
        ("intermediate_size", 0),
        ("head_dim", 2.0),
    ],
)
def test_a_field_that_cannot_be_honoured_is_refused_by_name(translation, field, value):
    with pytest.raises(PresetConfigError) as caught:
        translation.arguments(config() | {field: value})
    assert caught.value.problem.startswith(f"{field} is ")


def test_a_rotation_of_part_of_a_head_is_refused_by_name(translation):
    with pytest.raises(PresetConfigError, match=r"partial_rotary_factor is 0\.5"):
        translation.arguments(config() | {"rope_parameters": {"partial_rotary_factor": 0.5}})


@pytest.mark.parametrize("types", [[FULL], [FULL] * 3, "full_attention", [FULL, "chunked_attention"], [FULL, [FULL]]])
def test_layer_types_that_are_none_are_refused_by_name(translation, types):
    with pytest.raises(PresetConfigError, match="layer_types is"):
        translation.arguments(config("gemma2/transformers") | {"layer_types": types})


@pytest.mark.parametrize("preset", ["gemma/transformers", "gemma2/transformers"])
def test_a_field_that_changes_nothing_changes_nothing(translation, preset):
    harmless = {"use_cache": False, "pad_token_id": None, "cache_implementation": "hybrid", "unheard_of": 1}
    harmless |= {
        "use_bidirectional_attention": False,
        "is_causal": True,
        "rope_scaling": None,
        "partial_rotary_factor": 1.0,
    }
    assert translation.arguments(config(preset) | harmless) == translation.arguments(config(preset))


# === Writing ===


def choose(*values):
    return st.sampled_from(values)


def positive(most):
    return st.floats(0.001, most)


@st.composite
def representable(draw, post_norms=None):
    """Draws arguments that the format can say, as a reader of its configs would have them."""
    norms = draw(st.booleans()) if post_norms is None else post_norms
    count, groups, keys = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    by_width = draw(st.integers(1, 20))
    arguments = {
        **dict.fromkeys(("use_post_ffw_norm", "use_post_attention_norm"), norms),
        "vocabulary_size": draw(st.integers(1, 300_000)),
        "num_layers": count,
        "num_query_heads": groups * keys,
        "num_key_value_heads": keys,
        "hidden_dim": groups * keys * by_width,
        "intermediate_dim": 2 * draw(st.integers(1, 50)),
        "head_dim": 2 * draw(st.integers(1, 10)),
        "attention_logit_soft_cap": draw(st.none() | positive(100)),
        "final_logit_soft_cap": draw(st.none() | positive(100)),
        "sliding_window_size": draw(st.integers(1, 9999)),
        "layer_norm_epsilon": draw(positive(1)),
        "dropout": 0.0,
        "rope_max_wavelength": draw(positive(1e6)),
        "rope_scaling_factor": draw(positive(16)),
        "activation": draw(choose(*activations.NAMES)),
        "attention_bias": draw(st.booleans()),
        "attention_dropout": draw(st.none() | positive(0.9)),
        "initializer_range": draw(st.none() | positive(1)),
    }
    types = draw(st.lists(choose(SLIDING, FULL), min_size=count, max_size=count))
    alternate = types == [FULL if i % 2 else SLIDING for i in range(count)]
    arguments["use_sliding_window_attention"] = SLIDING in types
    arguments["layer_types"] = types if SLIDING in types and not alternate else None
    scalar = draw(choose(arguments["head_dim"], by_width, 777))
    known = scalar in (arguments["head_dim"], by_width)
    arguments["query_head_dim_normalize"] = scalar == arguments["head_dim"] or not known
    arguments["query_pre_attention_scalar"] = None if known else scalar
    return arguments


@given(representable())
def test_what_is_written_is_read_back(arguments):
    translation = GemmaTransformers()
    written = translation.config(arguments)
    assert json.loads(json.dumps(written)) == written
    if written["model_type"] == "gemma":
        arguments = arguments | {"sliding_window_size": 4096}  # of no meaning where nothing slides
    assert translation.arguments(written) == arguments


@given(representable(post_norms=False))
def test_tensors_are_named_as_the_model_type_that_is_written_names_them(arguments):
    model_type = GemmaTransformers().config(arguments)["model_type"]
    assume(model_type != "gemma2")
    tensors = {rule.tensor for rule in GemmaTransformers().rules(arguments).values()}
    assert ("layers.0.pre_feedforward_layernorm.weight" in tensors) == (model_type == "vaultgemma")
    assert ("layers.0.post_attention_layernorm.weight" in tensors) == (model_type == "gemma")


@pytest.mark.parametrize("preset", ["gemma/transformers", "gemma2/transformers"])
def test_what_transformers_wrote_is_written_again(translation, preset):
    original = config(preset)
    written = translation.config(translation.arguments(original))
    assert written.items() <= original.items()
    for_heads = {"bos_token_id", "eos_token_id", "pad_token_id", "use_cache"}
    added_by_the_core = {"dtype", "transformers_version"}
    assert original.keys() - written.keys() == for_heads | added_by_the_core | {"use_bidirectional_attention"}


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        (GEMMA1 | {"dropout": 0.1}, "dropout"),
        (GEMMA1 | {"use_post_ffw_norm": True}, "use_post_ffw_norm"),
        (GEMMA2 | {"use_post_ffw_norm": False}, "use_post_ffw_norm"),
        (GEMMA2 | {"query_pre_attention_scalar": 2.5}, "query_pre_attention_scalar"),
        (GEMMA2 | {"hidden_dim": 2305}, "num_query_heads"),
    ],
)
def test_what_the_format_cannot_say_is_refused_by_name(translation, arguments, argument):
    with pytest.raises(FormatLimitError) as caught:
        translation.config(arguments)
    assert (caught.value.format, caught.value.argument) == ("transformers", argument)
    assert caught.value.value == arguments[argument]


# === Tensors ===


def tensors(preset):
    """Names and shapes of a checkpoint's tensors."""
    with safetensors.safe_open(GOLDEN / preset / "model.safetensors", framework="np") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("preset", ["gemma/transformers", "gemma/transformers_bf16", "gemma2/transformers"])
def test_each_tensor_of_a_checkpoint_fills_one_weight(translation, preset):
    rules = translation.rules(translation.arguments(config(preset)))
    named = [rule.tensor for rule in rules.values()]
    assert len(set(named)) == len(named)
    assert set(named) == tensors(preset).keys()


def test_a_head_puts_the_backbone_under_a_prefix(translation):
    rules = translation.rules(translation.arguments(config("gemma/transformers_head")))
    found = {name for name in tensors("gemma/transformers_head") if name.startswith("model.")}
    assert found == {f"model.{rule.tensor}" for rule in rules.values()}
    assert "model." in translation.prefixes


def test_kernels_are_transposed_and_nothing_else_is(translation):
    rules = translation.rules(GEMMA2 | {"attention_bias": True})
    assert {weight for weight, rule in rules.items() if rule.transpose} == {
        weight for weight in rules if weight.endswith("/kernel")
    }


@pytest.mark.parametrize(("arguments", "count"), [(GEMMA1, 9), (VAULT, 9), (GEMMA2, 11)])
@pytest.mark.parametrize("bias", [False, True])
def test_each_layer_has_its_own_rules(translation, arguments, count, bias):
    given = [arguments | {"attention_bias": bias, "num_layers": layers} for layers in range(4)]
    counts = [len(translation.rules(item)) for item in given]
    assert [later - earlier for earlier, later in itertools.pairwise(counts)] == [count + 4 * bias] * 3
    for weight, rule in translation.rules(arguments).items():
        assert re.findall(r"_block_(\d+)", weight) == re.findall(r"layers\.(\d+)", rule.tensor)


@pytest.mark.parametrize(
    ("arguments", "weight", "tensor"),
    [
        (GEMMA1, "pre_ffw_norm/scale", "post_attention_layernorm.weight"),
        (GEMMA2, "pre_ffw_norm/scale", "pre_feedforward_layernorm.weight"),
        (VAULT, "pre_ffw_norm/scale", "pre_feedforward_layernorm.weight"),
        (GEMMA2, "post_attention_norm/scale", "post_attention_layernorm.weight"),
        (GEMMA2, "post_ffw_norm/scale", "post_feedforward_layernorm.weight"),
        (GEMMA2 | {"use_post_ffw_norm": False}, "post_attention_norm/scale", "post_attention_layernorm.weight"),
    ],
)
def test_normalisations_have_the_names_of_the_model_type(translation, arguments, weight, tensor):
    rules = translation.rules(arguments)
    assert rules[f"decoder_block_1/{weight}"] == TensorRule(f"layers.1.{tensor}")


def test_frequencies_of_old_checkpoints_are_no_weights(tmp_path, translation):
    assert translation.ignored == ("*rotary_emb.inv_freq",)
