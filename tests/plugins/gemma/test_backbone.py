"""Gemma against a second implementation of it in numpy, for every argument that changes the mathematics."""

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

SAME_WEIGHTS = [
    *({"activation": name} for name in ("gelu", "relu", "silu", "tanh")),
    {"layer_norm_epsilon": 0.1},
    {"query_head_dim_normalize": False},
    {"query_pre_attention_scalar": 2.5},
    {"attention_logit_soft_cap": 0.5},
    {"use_sliding_window_attention": True, "sliding_window_size": 3},
    {"use_sliding_window_attention": True, "sliding_window_size": 1},
    {
        "use_sliding_window_attention": True,
        "sliding_window_size": 2,
        "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
    },
    {"rope_max_wavelength": 10.0},
    {"rope_scaling_factor": 4.0},
]
OTHER_WEIGHTS = [
    {"num_query_heads": 2},
    {"num_key_value_heads": 1},
    {"num_key_value_heads": 4},
    {"num_layers": 1},
    {"head_dim": 2},
    {"use_post_ffw_norm": True},
    {"use_post_attention_norm": True},
    {"attention_bias": True},
]


@pytest.mark.parametrize("overrides", [{}, *SAME_WEIGHTS, *OTHER_WEIGHTS], ids=str)
def test_outputs_are_those_of_numpy(make, run, reference_of, inputs, overrides):
    backbone = make(**overrides)
    expected = reference_of(backbone)(inputs)
    assert (
        np.abs(run(backbone) - expected)[inputs["padding_mask"] == 1].max() <= 3e-5
    )  # weights are drawn again each time


def test_outputs_of_gemma_2_are_those_of_numpy(gemma2, make, run, reference_of, inputs):
    backbone = make(**gemma2)
    valid = inputs["padding_mask"] == 1
    reference = reference_of(backbone)
    error = np.abs(run(backbone) - reference(inputs))[valid].max()
    assert error <= 4 * reference.moved_by_rounding(inputs, valid)  # weights are drawn again each time


@pytest.mark.parametrize("overrides", SAME_WEIGHTS, ids=str)
def test_an_argument_changes_the_outputs(make, run, inputs, overrides):
    plain, other = make(), make(**overrides)
    other.set_weights(plain.get_weights())
    assert np.abs(run(plain) - run(other))[inputs["padding_mask"] == 1].max() > 1e-4


def test_logits_are_capped(make):
    states = np.random.default_rng(0).normal(size=(2, 3, 16)).astype("float32")
    plain, capped = make(), make(final_logit_soft_cap=0.5)
    capped.set_weights(plain.get_weights())
    logits = keras.ops.convert_to_numpy(plain.token_embedding(states, reverse=True))
    assert logits.shape == (2, 3, 101)
    found = keras.ops.convert_to_numpy(capped.token_embedding(states, reverse=True))
    assert np.abs(found - 0.5 * np.tanh(logits / 0.5)).max() <= 1e-5


# === The reference outputs ===


@pytest.fixture(scope="module")
def reference(golden):
    return vertebra.Backbone.from_preset(golden / "transformers")


def test_outputs_are_those_of_transformers(reference, run, io):
    valid, expected = io["padding_mask"] == 1, io["transformers/sequence_output"]
    inputs = {name: io[name] for name in ("token_ids", "padding_mask")}
    assert np.abs(run(reference, inputs) - expected)[valid].max() <= 1e-5
    compiled = keras.ops.convert_to_numpy(vertebra.compile(reference)(inputs))
    assert np.abs(compiled - expected)[valid].max() <= 1e-5


def test_a_batch_of_one_gives_what_the_whole_batch_gives(reference, run, io):
    for row in range(3):
        inputs = {name: io[name][row : row + 1] for name in ("token_ids", "padding_mask")}
        valid = inputs["padding_mask"] == 1
        gap = run(reference, inputs) - io["transformers/sequence_output"][row : row + 1]
        assert np.abs(gap)[valid].max() <= 1e-5


@pytest.mark.parametrize("length", [1, 5])
def test_a_token_does_not_see_what_comes_after_it(reference, run, io, length):
    inputs = {name: io[name][:1, :length] for name in ("token_ids", "padding_mask")}
    assert np.abs(run(reference, inputs) - io["transformers/sequence_output"][:1, :length]).max() <= 1e-5


def test_padding_at_the_left_only_moves_the_tokens(reference, run, io):
    padded = {name: np.pad(io[name][:1, :6], ((0, 0), (3, 0))) for name in ("token_ids", "padding_mask")}
    # Rotary embeddings know distances only, so that all positions may be three later.
    assert np.abs(run(reference, padded)[:, 3:] - io["transformers/sequence_output"][:1, :6]).max() <= 1e-5


def test_a_long_sequence_is_that_of_numpy(gemma2, make, run, reference_of):
    random = np.random.default_rng(3)
    inputs = {"token_ids": random.integers(0, 101, (1, 64)).astype("int32"), "padding_mask": np.ones((1, 64), "int32")}
    backbone = make(**gemma2)
    expected = reference_of(backbone)(inputs)
    assert np.abs(run(backbone, inputs) - expected).max() <= 1e-5


# === Padding ===


def test_what_stands_at_padding_does_not_matter(gemma2, make, run, inputs):
    padding = inputs["padding_mask"] == 0
    changed = inputs | {"token_ids": np.where(padding, 77, inputs["token_ids"]).astype("int32")}
    assert (changed["token_ids"] != inputs["token_ids"]).any()
    for backbone in (make(), make(**gemma2)):
        assert np.array_equal(run(backbone)[~padding], run(backbone, changed)[~padding])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_rows_of_padding_alone_give_numbers(arguments, gemma2, run, inputs, dtype):
    padding = inputs | {"padding_mask": np.zeros((4, 9), "int32")}
    for given in (arguments, gemma2):
        assert np.isfinite(run(vertebra.models.GemmaBackbone(**given, dtype=dtype), padding)).all()


# === Dropout ===


@pytest.mark.parametrize("rates", [{"dropout": 0.5}, {"attention_dropout": 0.5}], ids=str)
def test_dropout_acts_only_while_training(make, inputs, run, rates):
    backbone = make(**rates)
    first, second = (keras.ops.convert_to_numpy(backbone(inputs, training=True)) for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(run(backbone), run(backbone))


def test_attention_with_dropout_is_that_without_it_where_nothing_is_dropped(make, inputs, run, monkeypatch):
    plain, dropping = make(), make(dropout=0.5)
    dropping.set_weights(plain.get_weights())
    monkeypatch.setattr(vertebra.layers.Dropout, "call", lambda self, x, training=False: x)
    kept = keras.ops.convert_to_numpy(dropping(inputs, training=True))
    assert np.abs(kept - run(plain))[inputs["padding_mask"] == 1].max() <= 1e-5


# === Arguments ===


@pytest.mark.parametrize(
    "overrides",
    [
        {"num_key_value_heads": 3},
        {"num_layers": 0},
        {"num_layers": 10**9},
        {"vocabulary_size": -1},
        {"hidden_dim": 2**40},
        {"intermediate_dim": 33},
        {"head_dim": 5},
        {"sliding_window_size": 0},
        {"layer_norm_epsilon": 0},
        {"attention_logit_soft_cap": 0.0},
        {"final_logit_soft_cap": -1.0},
        {"query_pre_attention_scalar": float("nan")},
        {"rope_max_wavelength": 0.0},
        {"rope_scaling_factor": -2.0},
        {"initializer_range": -0.1},
        {"dropout": 1.0},
        {"attention_dropout": 2},
        {"activation": "prelu"},
        {"layer_types": ["full_attention"]},
        {"layer_types": ["full_attention", "full_attention", "chunked_attention"]},
        {"layer_types": ["full_attention", "full_attention", "sliding_attention"]},
    ],
    ids=str,
)
def test_an_argument_out_of_range_is_named(arguments, overrides):
    (name,) = overrides
    with pytest.raises(ValueError, match=rf"{name}="):
        vertebra.models.GemmaBackbone(**arguments | overrides)


def test_a_query_cannot_be_normalised_by_a_width_of_nothing(arguments):
    with pytest.raises(ValueError, match="query_head_dim_normalize=False"):
        vertebra.models.GemmaBackbone(**arguments | {"hidden_dim": 2, "query_head_dim_normalize": False})


def test_the_constructor_takes_kerashubs_arguments_in_kerashubs_order():
    given = [11, 1, 4, 2, 8, 12, 6, False, True, True, 5.0, 3.0, True, 7, 1e-5, 0.2]
    config = vertebra.models.GemmaBackbone(*given, "float32").get_config()
    names = ["vocabulary_size", "num_layers", "num_query_heads", "num_key_value_heads", "hidden_dim"]
    names += ["intermediate_dim", "head_dim", "query_head_dim_normalize", "use_post_ffw_norm"]
    names += ["use_post_attention_norm", "attention_logit_soft_cap", "final_logit_soft_cap"]
    names += ["use_sliding_window_attention", "sliding_window_size", "layer_norm_epsilon", "dropout"]
    assert [config[name] for name in names] == given


def test_defaults_are_kerashubs(arguments):
    config = vertebra.models.GemmaBackbone(**arguments).get_config()
    assert (config["sliding_window_size"], config["layer_norm_epsilon"], config["dropout"]) == (4096, 1e-6, 0)
    assert config["query_head_dim_normalize"] is True
    assert not any(config[name] for name in config if name.startswith("use_") or name.endswith("soft_cap"))
