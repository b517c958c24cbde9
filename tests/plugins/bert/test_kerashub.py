"""BERT in KerasHub's format: arguments and config are inverse, and every dataset has its place."""

import itertools
import json
import math
import re
from pathlib import Path

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra import TensorRule
from vertebra._weights.tensor_layout import stored_shape
from vertebra.errors import FormatLimitError, PresetConfigError
from vertebra_bert.kerashub import BertKerasHub

GOLDEN = Path(__file__).parents[2] / "golden" / "bert"
FIXED = {
    "activation": "gelu_approximate",
    "layer_norm_epsilon": 1e-12,
    "attention_dropout": None,
    "initializer_range": 0.02,
    "embedding_dim": None,
    "pooler": True,
}
SIZES = ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length")
SIZES += ("num_segments",)


@pytest.fixture(scope="module")
def translation():
    return BertKerasHub()


@pytest.fixture(scope="module")
def theirs():
    """The constructor's arguments in the config that KerasHub wrote."""
    config = json.loads((GOLDEN / "kerashub" / "config.json").read_text(encoding="utf-8"))["config"]
    return {name: value for name, value in config.items() if name not in ("name", "trainable", "dtype")}


counts = st.integers(1, 2**24)
configs = st.fixed_dictionaries(
    dict.fromkeys(SIZES, counts) | {"num_layers": st.integers(1, 1000), "dropout": st.floats(0, 0.99)}
)


@given(configs)
def test_what_is_written_is_read(config):
    translation = BertKerasHub()
    assert translation.config(FIXED | config) == config
    assert translation.arguments(translation.config(FIXED | config)) == config


def test_the_config_that_kerashub_wrote_comes_back(translation, theirs):
    assert translation.config(FIXED | translation.arguments(theirs)) == theirs


def test_what_a_config_leaves_out_is_as_in_kerashub(translation, theirs):
    short = {name: theirs[name] for name in SIZES[:5]}
    assert translation.arguments(short) == short | {"dropout": 0.1, "max_sequence_length": 512, "num_segments": 2}


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("activation", "gelu"),
        ("activation", "relu"),
        ("layer_norm_epsilon", 1e-5),
        ("attention_dropout", 0.3),
        ("pooler", False),
        ("embedding_dim", 8),
    ],
)
def test_what_kerashub_does_not_compute_is_refused_by_name(translation, theirs, argument, value):
    with pytest.raises(FormatLimitError) as caught:
        translation.config(FIXED | theirs | {argument: value})
    assert (caught.value.format, caught.value.argument, caught.value.value) == ("kerashub", argument, value)


@pytest.mark.parametrize("rate", [None, 0.1])
def test_one_rate_for_both_can_be_said(translation, theirs, rate):
    assert translation.config(FIXED | theirs | {"attention_dropout": rate}) == theirs


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [0, -1, 2**25, 1.5, "2", None, True, [2]])
def test_a_size_that_is_none_is_refused_by_name(translation, theirs, name, value):
    with pytest.raises(PresetConfigError, match=name):
        translation.arguments(theirs | {name: value})


@pytest.mark.parametrize("name", ["activation", "layer_norm_epsilon", "quantized", "lora", "class_name", "surprise"])
def test_a_field_that_kerashub_does_not_have_is_refused_by_name(translation, theirs, name):
    with pytest.raises(PresetConfigError, match=name):
        translation.arguments(theirs | {name: "gelu_approximate"})


# === Datasets ===


def datasets(preset):
    """Names and shapes of the datasets in a preset."""
    found = {}
    for path in sorted((GOLDEN / preset).glob("*.h5")):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: found.update({name: item.shape}) if isinstance(item, h5py.Dataset) else None
            )
    return found


@pytest.mark.parametrize("preset", ["kerashub", "kerashub_sharded"])
def test_each_dataset_that_kerashub_wrote_fills_one_weight(translation, theirs, preset):
    named = [rule.tensor for rule in translation.rules(theirs).values()]
    assert len(set(named)) == len(named)
    assert set(named) == datasets(preset).keys()


def test_shapes_that_rules_say_are_those_of_the_datasets(translation, theirs):
    shapes = datasets("kerashub")
    said = {rule.tensor: rule.shape for rule in translation.rules(theirs).values() if rule.shape is not None}
    assert len(said) == 2 * (3 * 2 + 1)  # kernel and bias of query, key and value, and the output's kernel
    assert all(shapes[tensor] == shape for tensor, shape in said.items())


def test_each_layer_has_its_own_rules(translation, theirs):
    counts = [len(translation.rules(theirs | {"num_layers": layers})) for layers in range(4)]
    assert [later - earlier for earlier, later in itertools.pairwise(counts)] == [16, 16, 16]
    for weight, rule in translation.rules(theirs | {"num_layers": 12}).items():
        layer = re.match(r"transformer_layer_(\d+)", weight)
        if layer:
            number = layer[1] if layer[1] != "0" else ""
            assert rule.tensor.split("/")[1] == f"transformer_encoder{number and '_' + number}"


def test_parts_of_a_layer_keep_their_place(translation, theirs):
    rules = translation.rules(theirs)
    ours, layer = "transformer_layer_1/self_attention", "layers/transformer_encoder_1/_self_attention_layer"
    assert rules[f"{ours}/query/kernel"] == TensorRule(f"{layer}/query_dense/vars/0", shape=(16, 2, 8))
    assert rules[f"{ours}/value/bias"] == TensorRule(f"{layer}/value_dense/vars/1", shape=(2, 8))
    assert rules[f"{ours}/attention_output/kernel"] == TensorRule(f"{layer}/output_dense/vars/0", shape=(2, 8, 16))
    assert stored_shape(rules["pooled_dense/kernel"], (16, 16)) == (16, 16)
    assert math.prod(rules[f"{ours}/query/kernel"].shape) == 16 * 16
