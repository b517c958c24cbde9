"""Gemma 3 against a second implementation of it in numpy, for every argument that changes the mathematics."""

from pathlib import Path

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras

GOLDEN = Path(__file__).parents[2] / "golden" / "gemma3"

ALL_FULL = {"use_sliding_window_attention": False, "layer_types": None}
BIDIRECTIONAL = {"use_bidirectional_attention": True}
SAME_WEIGHTS = [
    {"activation": "silu"},
    {"layer_norm_epsilon": 0.1},
    {"query_head_dim_normalize": False},
    {"query_pre_attention_scalar": 2.5},
    {"attention_logit_soft_cap": 0.5},
    {"sliding_window_size": 1},
    {"sliding_window_size": 8},
    ALL_FULL,
    {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"]},
    {"local_rope_max_wavelength": 10.0},
    {"local_rope_scaling_factor": 4.0},
    {"global_rope_max_wavelength": 10.0},
    {"global_rope_scaling_factor": 8.0},
    BIDIRECTIONAL,
    BIDIRECTIONAL | {"sliding_window_size": 4},
    BIDIRECTIONAL | {"sliding_window_size": 1},
    BIDIRECTIONAL | ALL_FULL,
]
OTHER_WEIGHTS = [
    {"num_layers": 7, "layer_types": None},  # the sixth attends to all tokens
    {"num_key_value_heads": 1},
    {"head_dim": 2},
    {"intermediate_dim": 21},
    {"use_query_key_norm": False},
    {"use_post_ffw_norm": False},
    {"use_post_attention_norm": False},
    {"attention_bias": True},
]


@pytest.mark.parametrize("overrides", [{}, *SAME_WEIGHTS, *OTHER_WEIGHTS], ids=str)
def test_outputs_are_those_of_numpy(make_gemma3, run, reference_of, inputs, overrides):
    backbone = make_gemma3(**overrides)
    valid, reference = inputs["padding_mask"] == 1, reference_of(backbone)
    error = np.abs(run(backbone) - reference(inputs))[valid].max()
    # Weights are drawn again each time.
    assert error <= 3e-5 or error <= 4 * reference.moved_by_rounding(inputs, valid, draws=2)


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("overrides", SAME_WEIGHTS, ids=str)
def test_an_argument_changes_the_outputs(make_gemma3, run, inputs, overrides):
    plain, other = make_gemma3(), make_gemma3(**overrides)
    other.set_weights(plain.get_weights())
    assert np.abs(run(plain) - run(other))[inputs["padding_mask"] == 1].max() > 1e-4


@pytest.mark.parametrize("overrides", [{}, BIDIRECTIONAL], ids=str)
def test_compiled_outputs_are_the_same(make_gemma3, run, inputs, overrides):
    backbone = make_gemma3(**overrides)
    compiled = keras.ops.convert_to_numpy(vertebra.compile(backbone)(inputs))
    assert np.abs(compiled - run(backbone))[inputs["padding_mask"] == 1].max() <= 1e-5


def test_logits_are_capped(make_gemma3):
    states = np.random.default_rng(0).normal(size=(2, 3, 16)).astype("float32")
    plain, capped = make_gemma3(), make_gemma3(final_logit_soft_cap=0.5)
    capped.set_weights(plain.get_weights())
    logits, found = (
        keras.ops.convert_to_numpy(model.token_embedding(states, reverse=True)) for model in (plain, capped)
    )
    assert np.abs(found - 0.5 * np.tanh(logits / 0.5)).max() <= 1e-5


# === Bidirectional attention ===


@pytest.mark.parametrize(("size", "reach"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_a_window_reaches_as_far_on_either_side(make_gemma3, run, size, reach):
    backbone = make_gemma3(num_layers=1, layer_types=["sliding_attention"], sliding_window_size=size, **BIDIRECTIONAL)
    ids = np.arange(1, 10, dtype="int32")[None]
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    changed = inputs | {"token_ids": np.where(ids == 5, 77, ids).astype("int32")}
    moved = np.abs(run(backbone, inputs) - run(backbone, changed)).max(-1)[0] > 1e-6
    assert np.flatnonzero(moved).tolist() == list(range(4 - reach, 5 + reach))


@pytest.mark.parametrize("overrides", [{}, BIDIRECTIONAL], ids=str)
def test_tokens_at_padding_do_not_matter(make_gemma3, run, inputs, overrides):
    padding, backbone = inputs["padding_mask"] == 0, make_gemma3(**overrides)
    changed = inputs | {"token_ids": np.where(padding, 77, inputs["token_ids"]).astype("int32")}
    assert np.array_equal(run(backbone)[~padding], run(backbone, changed)[~padding])


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("overrides", [{}, BIDIRECTIONAL], ids=str)
def test_rows_of_padding_alone_give_numbers(gemma3, run, inputs, overrides, dtype):
    padding = inputs | {"padding_mask": np.zeros((4, 9), "int32")}
    assert np.isfinite(run(vertebra.models.Gemma3Backbone(**gemma3 | overrides, dtype=dtype), padding)).all()


# === Arguments and layers ===


@pytest.mark.keras(once=True)
@pytest.mark.parametrize(
    "overrides",
    [
        {"num_key_value_heads": 3},
        {"head_dim": 5},
        {"sliding_window_size": 0},
        {"local_rope_max_wavelength": 0.0},
        {"global_rope_scaling_factor": -2.0},
        {"use_query_key_norm": 1},
        {"use_bidirectional_attention": "all"},
        {"layer_types": ["full_attention"]},
        {"layer_types": ["full_attention"] * 3},
    ],
    ids=str,
)
def test_an_argument_out_of_range_is_named(gemma3, overrides):
    (name,) = overrides
    with pytest.raises(ValueError, match=f"^{name}="):
        vertebra.models.Gemma3Backbone(**gemma3 | overrides)


def test_rotations_and_masks_are_computed_once_for_each_type_of_layers(make_gemma3):
    names = {layer.name for layer in make_gemma3().layers if not layer.weights}
    assert {
        f"{kind}_attention_{what}" for kind in ("full", "sliding") for what in ("mask", "rotary_embedding")
    } <= names


def test_a_keras_file_holds_all_of_it(tmp_path, make_gemma3, run):
    for overrides in ({}, BIDIRECTIONAL):
        backbone = make_gemma3(**overrides)
        backbone.save(tmp_path / "gemma.keras")
        again = vertebra.load_model(tmp_path / "gemma.keras")
        assert type(again) is type(backbone)
        assert np.array_equal(run(again), run(backbone))


def test_every_weight_trains(make_gemma3, values, inputs):
    backbone = make_gemma3()
    before = values(backbone)
    model = keras.Model(backbone.input, backbone.output)
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    model.fit(inputs, np.zeros((4, 9, 16), "float32"), verbose=0)
    after = values(backbone)
    assert all(not np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("role", sorted(vertebra.models.Gemma3Backbone.lora_roles))
def test_every_role_has_layers(make_gemma3, role):
    assert len(make_gemma3().enable_lora(2, [role]).layers) == (1 if role == "embedding.token" else 3)


# === The reference outputs ===


@pytest.fixture(scope="module")
def reference_io():
    return dict(np.load(GOLDEN / "io.npz"))


@pytest.mark.parametrize("preset", ["transformers", "bidirectional", "kerashub"])
def test_outputs_are_those_of_other_libraries(preset, run, reference_io):
    """The windows are shorter than the nine tokens."""
    inputs = {name: reference_io[name] for name in ("token_ids", "padding_mask")}
    backbone = vertebra.Backbone.from_preset(GOLDEN / preset)
    assert type(backbone).__name__ == "Gemma3Backbone"
    error = np.abs(run(backbone, inputs) - reference_io[f"{preset}/sequence_output"])
    assert error[inputs["padding_mask"] == 1].max() <= 3e-5  # of six layers


@pytest.mark.keras(once=True)
@pytest.mark.parametrize("format", ["transformers", "kerashub"])
def test_a_preset_is_written_as_it_was_read(tmp_path, format):
    backbone = vertebra.Backbone.from_preset(GOLDEN / format)
    backbone.save_to_preset(tmp_path / "first", format=format)
    again = vertebra.Backbone.from_preset(tmp_path / "first")
    assert again.get_config() == backbone.get_config() | {"name": again.name}
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(again.weights, backbone.weights, strict=True))
