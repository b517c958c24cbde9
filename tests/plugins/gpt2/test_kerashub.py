"""GPT-2's translation for KerasHub: each argument is carried over or refused by name, each dataset has its place."""

import json
from pathlib import Path

import h5py
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra import TensorRule
from vertebra._weights.tensor_layout import stored_shape
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_gpt2.kerashub import GPT2KerasHub

GOLDEN = Path(__file__).parents[2] / "golden" / "gpt2"
ARGUMENTS = {
    "vocabulary_size": 101,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 64,
    "dropout": 0.1,
    "max_sequence_length": 16,
}
BEYOND = {
    "activation": "gelu_approximate",
    "layer_norm_epsilon": 1e-5,
    "attention_dropout": None,
    "embedding_dropout": None,
    "initializer_range": 0.02,
    "scale_attention": True,
    "scale_attention_by_inverse_layer_index": False,
}
"""The arguments that KerasHub's class does not have, with the values that it always uses."""


@pytest.fixture(scope="module")
def translation():
    return GPT2KerasHub()


# === Configs ===


def test_the_config_of_a_preset_is_its_arguments(translation):
    config = json.loads((GOLDEN / "kerashub" / "config.json").read_text(encoding="utf-8"))["config"]
    own = {name: value for name, value in config.items() if name not in ("name", "trainable", "dtype")}
    assert translation.arguments(own) == ARGUMENTS


def test_what_a_config_leaves_out_is_as_in_kerashub(translation):
    given = {name: ARGUMENTS[name] for name in list(ARGUMENTS)[:5]}
    assert translation.arguments(given) == given | {"dropout": 0.1, "max_sequence_length": 1024}


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_layers", "3"), ("num_layers", 10**9), ("vocabulary_size", 0), ("hidden_dim", None), ("num_heads", True)],
)
def test_a_size_that_is_none_is_refused_by_name(name, value, translation):
    with pytest.raises(PresetConfigError, match=name):
        translation.arguments(ARGUMENTS | {name: value})


def test_a_size_that_is_missing_is_named(translation):
    with pytest.raises(PresetConfigError, match="num_heads"):
        translation.arguments({name: value for name, value in ARGUMENTS.items() if name != "num_heads"})


@pytest.mark.parametrize("name", ["activation", "attention_logit_soft_cap"])
def test_what_kerashubs_class_does_not_take_is_refused_by_name(name, translation):
    with pytest.raises(PresetConfigError, match=name):
        translation.arguments(ARGUMENTS | {name: "relu"})


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(dropout=st.floats(0, 1, exclude_max=True), sizes=st.tuples(*[st.integers(1, 1000)] * 6), start=st.floats(0, 10))
def test_a_config_that_is_written_is_read_again(dropout, sizes, start, translation):
    names = [name for name in ARGUMENTS if name != "dropout"]
    arguments = dict(zip(names, sizes, strict=True)) | {"dropout": dropout}
    text = json.dumps(translation.config(arguments | BEYOND | {"initializer_range": start}))
    assert translation.arguments(json.loads(text)) == arguments


def test_rates_that_are_written_out_and_the_same_are_no_obstacle(translation):
    same = {"attention_dropout": 0.1, "embedding_dropout": 0.1}
    assert translation.config(ARGUMENTS | BEYOND | same) == ARGUMENTS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("activation", "gelu"),
        ("layer_norm_epsilon", 1e-6),
        ("attention_dropout", 0.0),
        ("embedding_dropout", 0.5),
        ("scale_attention", False),
        ("scale_attention_by_inverse_layer_index", True),
    ],
)
def test_what_kerashub_does_not_compute_is_refused_by_name(name, value, translation):
    with pytest.raises(FormatLimitError) as caught:
        translation.config(ARGUMENTS | BEYOND | {name: value})
    error = caught.value
    assert (error.format, error.argument, error.value) == ("kerashub", name, value)


# === Datasets ===


def datasets(*files):
    """Paths and shapes of the datasets in some files of a preset."""
    found = {}
    for path in files:
        with h5py.File(path) as file:
            file.visititems(lambda name, item: found.update({name: item.shape} if hasattr(item, "shape") else {}))
    return found


@pytest.mark.parametrize("preset", ["kerashub", "kerashub_sharded"])
def test_each_dataset_of_a_preset_fills_one_weight(preset, translation):
    named = [rule.tensor for rule in translation.rules(ARGUMENTS).values()]
    assert len(set(named)) == len(named)
    assert set(named) == datasets(*(GOLDEN / preset).glob("*.h5")).keys()


def test_each_dataset_has_the_shape_that_its_rule_says(translation):
    shapes = datasets(GOLDEN / "kerashub" / "model.weights.h5")
    for rule in translation.rules(ARGUMENTS).values():
        assert stored_shape(rule, shapes[rule.tensor]) == shapes[rule.tensor]


def test_attention_keeps_its_heads_apart(translation):
    rules = translation.rules(ARGUMENTS | {"num_heads": 4})
    theirs = "layers/transformer_decoder_1/_self_attention_layer"
    attention = "transformer_layer_1/self_attention"
    assert rules[f"{attention}/key/kernel"] == TensorRule(f"{theirs}/key_dense/vars/0", shape=(16, 4, 4))
    assert rules[f"{attention}/key/bias"] == TensorRule(f"{theirs}/key_dense/vars/1", shape=(4, 4))
    assert rules[f"{attention}/attention_output/kernel"].shape == (4, 4, 16)
    assert rules[f"{attention}/attention_output/bias"] == TensorRule(f"{theirs}/output_dense/vars/1")


def test_the_first_layer_has_no_number(translation):
    rules = translation.rules(ARGUMENTS)
    layers = [rules[f"transformer_layer_{i}/feedforward_layer_norm/beta"].tensor.split("/")[1] for i in range(2)]
    assert layers == ["transformer_decoder", "transformer_decoder_1"]
