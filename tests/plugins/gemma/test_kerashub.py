"""Gemma's translation of KerasHub's format: arguments, errors for unsupported ones, and layer numbers."""

import json

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vertebra
from vertebra._presets.convert import convert_preset
from vertebra._presets.inspect import inspect_preset
from vertebra._weights.layer_paths import weight_names
from vertebra._weights.tensor_layout import fits, put, take
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_gemma.kerashub import GemmaKerasHub

pytestmark = pytest.mark.keras

OURS = {
    "query_pre_attention_scalar": None,
    "rope_max_wavelength": 10_000.0,
    "rope_scaling_factor": 1.0,
    "activation": "gelu_approximate",
    "attention_bias": False,
    "attention_dropout": None,
    "layer_types": None,
    "initializer_range": None,
}


@pytest.fixture(scope="module")
def translation():
    return GemmaKerasHub()


@pytest.fixture(scope="module")
def config(golden):
    """What KerasHub wrote of the class's own arguments."""
    inner = json.loads((golden / "kerashub" / "config.json").read_text(encoding="utf-8"))["config"]
    return {name: value for name, value in inner.items() if name not in ("name", "trainable", "dtype")}


@pytest.fixture(scope="module")
def datasets(golden):
    """Datasets of the weights that KerasHub wrote, by path."""
    found = {}
    with h5py.File(golden / "kerashub" / "model.weights.h5") as file:
        file.visititems(lambda path, item: found.update({path: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


@pytest.fixture(scope="module")
def backbone(translation, config, datasets):
    """The backbone of KerasHub's preset, filled by the rules."""
    built = vertebra.models.GemmaBackbone(**translation.arguments(config))
    weights = weight_names(built)
    for name, rule in translation.rules(translation.arguments(config)).items():
        weights[name].assign(take(rule, datasets[rule.tensor], tuple(weights[name].shape)))
    return built


# === Weights ===


def test_each_dataset_fills_one_weight(translation, config, datasets, backbone):
    rules, weights = translation.rules(config | OURS), weight_names(backbone)
    assert rules.keys() == weights.keys()
    assert sorted(rule.tensor for rule in rules.values()) == sorted(datasets)
    assert all(fits(rule, tuple(weights[name].shape), datasets[rule.tensor].shape) for name, rule in rules.items())


def test_outputs_are_those_of_kerashub(backbone, run, io):
    inputs, valid = {name: io[name] for name in ("token_ids", "padding_mask")}, io["padding_mask"] == 1
    assert np.abs(run(backbone, inputs) - io["kerashub/sequence_output"])[valid].max() <= 1e-5


@pytest.mark.parametrize("preset", ["kerashub", "kerashub_sharded"])
def test_presets_of_kerashub_are_loaded(golden, backbone, preset):
    loaded = vertebra.Backbone.from_preset(golden / preset)
    assert type(loaded) is type(backbone)
    for found, expected in zip(loaded.weights, backbone.weights, strict=True):
        assert np.array_equal(found.numpy(), expected.numpy())


def test_weights_are_written_as_they_were_read(translation, config, datasets, backbone):
    weights = weight_names(backbone)
    for name, rule in translation.rules(config | OURS).items():
        assert np.array_equal(put([rule], [weights[name].numpy()]), datasets[rule.tensor])


# === Arguments ===


def test_a_config_is_read_and_written_again(translation, config):
    assert translation.arguments(config) == config
    assert translation.config(config | OURS) == config


def test_what_an_old_config_leaves_out_is_as_in_kerashub(translation, arguments):
    backbone = vertebra.models.GemmaBackbone(**arguments)
    assert translation.arguments(arguments) == {
        name: value for name, value in backbone.get_config().items() if name in translation.arguments(arguments)
    }
    assert len(translation.arguments(arguments)) == 16


@given(
    st.fixed_dictionaries(
        {
            "use_post_ffw_norm": st.booleans(),
            "use_post_attention_norm": st.booleans(),
            "attention_logit_soft_cap": st.none() | st.floats(0.1, 100),
            "final_logit_soft_cap": st.none() | st.floats(0.1, 100),
            "use_sliding_window_attention": st.booleans(),
            "sliding_window_size": st.integers(1, 9999),
            "dropout": st.floats(0, 0.9),
        }
    )
)
def test_what_is_written_is_read_back(fields):
    translation = GemmaKerasHub()
    sizes = (
        "vocabulary_size",
        "num_layers",
        "num_query_heads",
        "num_key_value_heads",
        "hidden_dim",
        "intermediate_dim",
    )
    arguments = dict.fromkeys(sizes, 8) | {"head_dim": 4, "layer_norm_epsilon": 1e-6, "query_head_dim_normalize": True}
    written = translation.config(arguments | fields | OURS)
    assert json.loads(json.dumps(written)) == written
    assert translation.arguments(written) == arguments | fields


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("query_pre_attention_scalar", 5.0),
        ("rope_max_wavelength", 1e6),
        ("rope_scaling_factor", 2.0),
        ("activation", "silu"),
        ("attention_bias", True),
        ("attention_dropout", 0.5),
        ("layer_types", ["full_attention", "sliding_attention"]),
    ],
)
def test_what_kerashub_cannot_say_is_refused_by_name(translation, config, argument, value):
    with pytest.raises(FormatLimitError) as caught:
        translation.config(config | OURS | {argument: value})
    assert (caught.value.format, caught.value.argument, caught.value.value) == ("kerashub", argument, value)


@pytest.mark.parametrize(
    "same", [{"attention_dropout": 0}, {"initializer_range": 0.5}, {"query_pre_attention_scalar": 4}]
)
def test_what_says_the_same_or_nothing_of_a_saved_model_is_written(translation, config, same):
    assert translation.config(config | OURS | same) == config


@pytest.mark.parametrize(
    "given",
    [
        {"layer_norm_epsilon": 1e-5},
        {"query_head_dim_normalize": False, "hidden_dim": 32},
        {"query_pre_attention_scalar": 8, "hidden_dim": 32},
    ],
    ids=str,
)
def test_what_kerashub_has_a_field_for_and_ignores_is_refused_by_name(translation, config, given):
    argument = next(iter(given))
    with pytest.raises(FormatLimitError) as caught:
        translation.config(config | OURS | given)
    assert (caught.value.argument, caught.value.value) == (argument, given[argument])


def test_a_divisor_that_both_settings_choose_is_written(translation, config):
    same = {"query_head_dim_normalize": False, "hidden_dim": config["head_dim"] * config["num_query_heads"]}
    assert translation.config(config | OURS | same)["query_head_dim_normalize"] is True


@pytest.mark.parametrize(
    ("field", "value"), [("num_layers", "2"), ("num_layers", 10**9), ("hidden_dim", None), ("head_width", 3)]
)
def test_a_field_that_cannot_be_honoured_is_refused_by_name(translation, config, field, value):
    with pytest.raises(PresetConfigError) as caught:
        translation.arguments(config | {field: value})
    assert caught.value.problem.startswith(f"{field} is ")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        (
            {"query_head_dim_normalize": False},
            "query_head_dim_normalize=False, and KerasHub's Gemma always computes with",
        ),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon=1e-05, and KerasHub's Gemma always has 1e-06"),
    ],
    ids=str,
)
def test_what_kerashub_ignores_is_told_when_it_is_loaded(arguments, tmp_path, caplog, changes, said):
    preset = tmp_path / "preset"
    vertebra.models.GemmaBackbone(**arguments).save_to_preset(preset, format="kerashub", certificate=False)
    config = json.loads((preset / "config.json").read_text())
    config["config"] |= changes
    (preset / "config.json").write_text(json.dumps(config))
    backbone = vertebra.Backbone.from_preset(preset)
    assert all(getattr(backbone, name) == value for name, value in changes.items())
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (said is not None)
    assert said is None or said in told[0]
    difference = convert_preset(preset, tmp_path / "native").difference
    assert difference == inspect_preset(str(preset))["difference"]
    assert (difference or "").startswith(said or "")
