"""Gemma 3's translation of KerasHub's format: arguments, errors for unsupported ones, and layer numbers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_gemma.gemma3_kerashub import Gemma3KerasHub

SIZES = dict.fromkeys(("vocabulary_size", "num_layers", "num_query_heads", "num_key_value_heads", "hidden_dim"), 8)
SIZES |= {"intermediate_dim": 7, "head_dim": 4}
DEFAULTS = {
    "query_head_dim_normalize": True,
    "use_query_key_norm": True,
    "use_post_ffw_norm": False,
    "use_post_attention_norm": False,
    "attention_logit_soft_cap": None,
    "final_logit_soft_cap": None,
    "use_sliding_window_attention": False,
    "sliding_window_size": 1024,
    "local_rope_scaling_factor": 1.0,
    "global_rope_scaling_factor": 1.0,
    "layer_norm_epsilon": 1e-6,
    "use_bidirectional_attention": False,
    "dropout": 0,
}
OURS = {
    "query_pre_attention_scalar": None,
    "local_rope_max_wavelength": 10_000.0,
    "global_rope_max_wavelength": 1_000_000.0,
    "activation": "gelu_approximate",
    "attention_bias": False,
    "attention_dropout": None,
    "layer_types": None,
    "initializer_range": None,
}
ALL = SIZES | DEFAULTS | OURS
BOTH_WAYS = {"use_sliding_window_attention": True, "use_bidirectional_attention": True}


@pytest.fixture(scope="module")
def translation():
    return Gemma3KerasHub()


def test_what_a_config_leaves_out_is_as_in_kerashub(translation):
    assert translation.arguments(SIZES | {"image_size": None}) == SIZES | DEFAULTS


def test_fields_of_other_models_say_nothing_of_a_model_for_text(translation):
    others = {"image_size": 896, "vision_encoder": None, "is_embedding_model": False}
    others |= {"pooling_intermediate_dim": None, "embedding_dim": None}
    assert translation.arguments(SIZES | others) == SIZES | DEFAULTS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vision_encoder", {"class_name": "Gemma3VisionEncoder"}),
        ("is_embedding_model", True),
        ("num_layers", "2"),
        ("head_width", 3),
    ],
)
def test_a_field_that_cannot_be_honoured_is_refused_by_name(translation, field, value):
    with pytest.raises(PresetConfigError) as caught:
        translation.arguments(SIZES | {field: value})
    assert caught.value.problem.startswith(f"{field} is ")


@given(
    st.fixed_dictionaries(
        {
            "use_query_key_norm": st.booleans(),
            "use_post_ffw_norm": st.booleans(),
            "use_post_attention_norm": st.booleans(),
            "attention_logit_soft_cap": st.none() | st.floats(0.1, 100),
            "final_logit_soft_cap": st.none() | st.floats(0.1, 100),
            "use_sliding_window_attention": st.booleans(),
            "sliding_window_size": st.integers(1, 9999),
            "local_rope_scaling_factor": st.floats(0.1, 16),
            "global_rope_scaling_factor": st.floats(0.1, 16),
            "use_bidirectional_attention": st.booleans(),
            "dropout": st.floats(0, 0.9),
        }
    )
)
def test_what_is_written_is_read_back(fields):
    translation = Gemma3KerasHub()
    written = translation.config(ALL | fields)
    assert json.loads(json.dumps(written)) == written
    again, expected = translation.arguments(written), SIZES | DEFAULTS | fields
    if fields["use_sliding_window_attention"] and fields["use_bidirectional_attention"]:
        # KerasHub's window is as wide as ours only if it is odd.
        assert again.pop("sliding_window_size") // 2 == expected.pop("sliding_window_size") // 2
        assert written["sliding_window_size"] % 2 == 1
    assert again == expected
    assert translation.difference(translation.arguments(written)) is None


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("query_pre_attention_scalar", 5.0),
        ("query_head_dim_normalize", False),
        ("local_rope_max_wavelength", 1e6),
        ("global_rope_max_wavelength", 1e4),
        ("activation", "silu"),
        ("attention_bias", True),
        ("attention_dropout", 0.5),
        ("layer_norm_epsilon", 1e-5),
        ("layer_types", ["full_attention"] * 8),
    ],
)
def test_what_kerashub_cannot_say_is_refused_by_name(translation, argument, value):
    with pytest.raises(FormatLimitError) as caught:
        translation.config(ALL | {argument: value})
    assert (caught.value.format, caught.value.argument, caught.value.value) == ("kerashub", argument, value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"query_head_dim_normalize": False}, "query_head_dim_normalize=False, and KerasHub's Gemma 3 always computes"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon=1e-05, and KerasHub's Gemma 3 always has 1e-06"),
        (BOTH_WAYS, "sliding_window_size=1024, and KerasHub's Gemma 3 attends to 511 tokens before a token, not 512"),
        (BOTH_WAYS | {"sliding_window_size": 513}, None),
    ],
    ids=str,
)
def test_what_kerashub_computes_otherwise_is_told(translation, changes, said):
    difference = translation.difference(translation.arguments(SIZES | changes))
    assert (difference or "").startswith(said or "")
    assert (difference is None) == (said is None)


def test_linear_layers_have_kerashubs_numbers(translation):
    """As KerasHub numbers the layers in its adapter files."""
    norms = {"use_post_ffw_norm": True, "use_post_attention_norm": True}
    with_all = translation.numbered_layers(ALL | norms | {"num_layers": 2})
    assert {number for number, path in with_all.items() if path.endswith(("/value", "/query"))} == {11, 13, 26, 28}
    assert (with_all[11], with_all[28]) == ("decoder_block_0/attention/value", "decoder_block_1/attention/query")
