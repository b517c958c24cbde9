"""Inputs of a call: under the backbone's names or transformers', and without those that have a default."""

import collections
import inspect

import keras
import numpy as np
import pytest

import vertebra
from vertebra.errors import ArgumentError

pytestmark = pytest.mark.keras

BERT = {"num_heads": 2, "vocabulary_size": 11, "num_layers": 1, "hidden_dim": 8, "intermediate_dim": 8}
GEMMA = BERT | {"num_query_heads": 2, "num_key_value_heads": 1, "head_dim": 4}
del GEMMA["num_heads"]
TINY = {"BertBackbone": BERT | {"dropout": 0.0}, "GPT2Backbone": BERT | {"dropout": 0.0}, "GemmaBackbone": GEMMA}
TINY |= {f"{name}Backbone": BERT | {"dropout": 0.0} for name in ("Roberta", "DistilBert", "MPNet", "ModernBert")}
THEIRS = {"token_ids": "input_ids", "padding_mask": "attention_mask", "segment_ids": "token_type_ids"}
each = pytest.mark.parametrize("name", TINY)


@pytest.fixture(scope="module")
def backbones():
    """A tiny backbone of each architecture."""
    return {name: getattr(vertebra.models, name)(**arguments) for name, arguments in TINY.items()}


def inputs_of(backbone):
    """Returns different values for each input."""
    inputs = {"token_ids": [[3, 1, 4], [1, 5, 9]], "padding_mask": [[1, 1, 0], [1, 1, 1]]}
    inputs["segment_ids"] = [[0, 1, 1], [0, 0, 1]]
    return {name: np.array(inputs[name], "int32") for name in backbone.input}


def default_inputs_of(backbone):
    """Returns the inputs with the values that a call gives to those that it leaves out."""
    inputs = inputs_of(backbone)
    return inputs | {
        name: np.full((2, 3), int(name == "padding_mask"), "int32") for name in inputs.keys() - {"token_ids"}
    }


def foreign(inputs):
    """Returns inputs under transformers' names."""
    return {THEIRS[name]: value for name, value in inputs.items()}


def lists(inputs):
    """Returns inputs as nested lists of Python's numbers."""
    return {name: value.tolist() for name, value in inputs.items()}


def states(outputs):
    """Returns the hidden states among a backbone's outputs, as an array."""
    return keras.ops.convert_to_numpy(outputs["sequence_output"] if isinstance(outputs, dict) else outputs)


CALLS = {
    "a dict": lambda backbone, inputs: backbone(inputs),
    "an argument": lambda backbone, inputs: backbone(inputs=inputs, training=False),
    "keywords": lambda backbone, inputs: backbone(**inputs, training=False),
    "a mapping": lambda backbone, inputs: backbone(collections.UserDict(inputs)),
    "tensors": lambda backbone, inputs: backbone(keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)),
    "lists": lambda backbone, inputs: backbone(lists(inputs)),
    "predict": lambda backbone, inputs: backbone.predict(inputs, verbose=0),
    "predict lists": lambda backbone, inputs: backbone.predict(lists(inputs), verbose=0),
    "compiled": lambda backbone, inputs: vertebra.compile(backbone)(collections.UserDict(inputs)),
    "compiled lists": lambda backbone, inputs: vertebra.compile(backbone)(lists(inputs)),
}


@each
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_names_of_transformers_stand_for_our_own(backbones, name, call):
    backbone = backbones[name]
    inputs = inputs_of(backbone)
    assert np.allclose(states(call(backbone, foreign(inputs))), states(backbone(inputs)), atol=1e-6)


@each
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("tokens", ["token_ids", "input_ids"])
def test_masks_and_segments_have_defaults(backbones, name, call, tokens):
    backbone = backbones[name]
    alone = {tokens: inputs_of(backbone)["token_ids"]}
    assert np.allclose(states(call(backbone, alone)), states(backbone(default_inputs_of(backbone))), atol=1e-6)


@each
@pytest.mark.parametrize("names", [lambda inputs: inputs, foreign], ids=["ours", "theirs"])
def test_none_means_that_an_input_is_left_out(backbones, name, names):
    backbone = backbones[name]
    inputs = inputs_of(backbone)
    alone = names(dict.fromkeys(inputs) | {"token_ids": inputs["token_ids"]})
    assert np.allclose(states(backbone(alone)), states(backbone(default_inputs_of(backbone))), atol=1e-6)
    with pytest.raises(ValueError):
        backbone(names(inputs | {"token_ids": None}))


@each
def test_a_model_around_a_backbone_may_have_them_too(backbones, name, tmp_path):
    backbone = backbones[name]
    tokens = keras.Input((None,), dtype="int32", name="input_ids")
    model = keras.Model({"input_ids": tokens}, backbone({"input_ids": tokens}))
    alone = {"input_ids": inputs_of(backbone)["token_ids"]}
    expected = states(backbone(default_inputs_of(backbone)))
    assert np.allclose(states(model(alone)), expected, atol=1e-6)
    model.save(tmp_path / "model.keras")
    assert np.allclose(states(vertebra.load_model(tmp_path / "model.keras")(alone)), expected, atol=1e-6)


@each
def test_fit_and_evaluate_take_them(backbones, name):
    backbone = backbones[name]
    before, weights = states(backbone(default_inputs_of(backbone))), backbone.get_weights()
    backbone.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    alone = foreign({"token_ids": inputs_of(backbone)["token_ids"]})
    targets = keras.tree.map_structure(lambda output: np.zeros(output.shape, "float32"), backbone(alone))
    (loss,) = backbone.fit(alone, targets, verbose=0).history["loss"]
    evaluated = backbone.evaluate(alone, targets, verbose=0, return_dict=True)["loss"]
    assert np.isclose(loss, evaluated)
    assert loss >= np.square(before).mean() - 1e-5
    assert all(np.array_equal(a, b) for a, b in zip(weights, backbone.get_weights(), strict=True))


@each
def test_an_input_is_given_once_and_known(backbones, name):
    backbone = backbones[name]
    inputs = inputs_of(backbone)
    with pytest.raises(ValueError, match="has the inputs 'token_ids' and 'input_ids': pass one of them"):
        backbone(inputs | {"input_ids": inputs["token_ids"]})
    with pytest.raises(ValueError, match=f"A call of {name} has no input 'padding_msk'; did you mean 'padding_mask'"):
        backbone({"token_ids": inputs["token_ids"], "padding_msk": inputs["padding_mask"]})
    with pytest.raises(ValueError, match="has no input 'labels'; its inputs are token_ids, "):
        backbone(inputs | {"labels": inputs["token_ids"]})
    with pytest.raises(TypeError, match="no argument 'atention_mask'; did you mean 'attention_mask'"):
        backbone(input_ids=inputs["token_ids"], atention_mask=inputs["padding_mask"])
    with pytest.raises(TypeError, match="no argument 'attention_mask'; pass the inputs in one dict, or each by its na"):
        backbone(inputs["token_ids"], attention_mask=inputs["padding_mask"])


@each
def test_a_list_may_accompany_a_tensor_and_rows_may_be_arrays(backbones, name):
    backbone = backbones[name]
    inputs = inputs_of(backbone)
    expected = states(backbone(inputs))
    mixed = lists(inputs) | {"token_ids": keras.ops.convert_to_tensor(inputs["token_ids"])}
    assert np.allclose(states(backbone(mixed)), expected, atol=1e-6)
    rows = inputs | {
        "token_ids": list(inputs["token_ids"]),
        "padding_mask": inputs["padding_mask"].astype(bool).tolist(),
    }
    assert np.allclose(states(backbone(rows)), expected, atol=1e-6)


BAD_LISTS = {
    "rows of two lengths": ([[1, 2], [3]], "expected rows of one length: fill up short rows, and pass a padding mask"),
    "texts": ([["a"]], "expected an array or tensor of int32, or nested lists of numbers"),
    "a text": ("a cat", "expected an array or tensor of int32"),
    "no row": ([], "expected 2 dimensions, not 1"),
    "a single row": ([1, 2], "expected 2 dimensions, not 1"),
    "a number": (5, "expected 2 dimensions, not 0"),
    "fractions": ([[1.5, 2.0]], "expected whole numbers from -2,147,483,648 to 2,147,483,647"),
    "a large number": ([[2**31]], "expected whole numbers from -2,147,483,648 to 2,147,483,647"),
    "a huge number": ([[10**30]], "expected an array or tensor of int32"),
    "nothing": ([[None]], "expected an array or tensor of int32"),
    "a long list": ([["a"] * 9_999], "characters more), expected an array or tensor of int32"),
}


@pytest.mark.parametrize(("value", "message"), BAD_LISTS.values(), ids=BAD_LISTS)
@pytest.mark.parametrize("call", [lambda backbone, x: backbone(x), lambda backbone, x: backbone.predict(x)])
def test_a_list_that_is_no_array_of_the_input_is_an_error_of_its_own(backbones, call, value, message):
    with pytest.raises(ArgumentError) as caught:
        call(backbones["BertBackbone"], {"token_ids": value})
    assert str(caught.value).startswith("BertBackbone: token_ids=")
    assert message in str(caught.value)


def test_a_list_alone_does_not_say_which_input_it_is(backbones):
    with pytest.raises(
        ArgumentError, match=r"inputs=\[\[1, 2\]\], expected a dict of arrays .*: token_ids, segment_ids, "
    ):
        backbones["BertBackbone"]([[1, 2]])


def test_only_bert_has_segments(backbones):
    inputs = inputs_of(backbones["GPT2Backbone"])
    with pytest.raises(ValueError, match="no input 'token_type_ids'; its inputs are "):
        backbones["GPT2Backbone"](inputs | {"token_type_ids": inputs["token_ids"]})


def test_the_lazy_class_and_the_class_have_one_signature_of_from_preset():
    from vertebra._lazy_class import LazyBackbone

    lazy = inspect.signature(LazyBackbone("BertBackbone").from_preset)
    assert list(lazy.parameters.values()) == list(inspect.signature(vertebra.Backbone.from_preset).parameters.values())
