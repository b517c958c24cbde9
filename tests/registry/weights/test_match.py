"""Matching: every weight is filled once and every tensor is used or ignored by a rule, or the load fails."""

from types import SimpleNamespace

import pytest

from vertebra import TensorRule
from vertebra._weights.match import match
from vertebra._weights.tensor_entry import layout_of
from vertebra.errors import WeightsMismatchError


def weights(**shapes):
    return {name: SimpleNamespace(shape=shape, dtype="float32") for name, shape in shapes.items()}


def tensors(**shapes):
    return {name: layout_of(name, "float32", shape) for name, shape in shapes.items()}


def rules(**names):
    return {weight: TensorRule(name) for weight, name in names.items()}


WEIGHTS = weights(kernel=(2, 3), bias=(3,))
RULES = {"kernel": TensorRule("weight", transpose=True), "bias": TensorRule("bias")}
TENSORS = tensors(weight=(3, 2), bias=(3,))


def test_finds_a_tensor_for_every_weight():
    found = match("place", WEIGHTS, TENSORS, RULES)
    assert found.sources == RULES
    assert found.fresh == []


def test_one_tensor_may_fill_two_weights():
    found = match("place", weights(a=(2,), b=(2,)), tensors(x=(2,)), rules(a="x", b="x"))
    assert found.sources == rules(a="x", b="x")


@pytest.mark.parametrize(
    ("held", "parts"),
    [
        (tensors(bias=(3,)), {"missing": ["kernel"]}),
        ({}, {"missing": ["kernel", "bias"]}),
        (TENSORS | tensors(extra=(1,)), {"unused": ["extra"]}),
        (tensors(weigth=(3, 2), bias=(3,)), {"missing": ["kernel"], "unused": ["weigth"]}),
        (tensors(weight=(2, 3), bias=(3,)), {"reshaped": [("kernel", (3, 2), (2, 3))]}),
        (tensors(weight=(3, 2), bias=(3, 1)), {"reshaped": [("bias", (3,), (3, 1))]}),
        (tensors(weight=(6,), bias=()), {"reshaped": [("kernel", (3, 2), (6,)), ("bias", (3,), ())]}),
    ],
)
def test_anything_else_is_an_error_that_lists_it(held, parts):
    with pytest.raises(WeightsMismatchError) as caught:
        match("place", WEIGHTS, held, RULES)
    found = {name: getattr(caught.value, name) for name in ("missing", "unused", "reshaped", "retyped")}
    assert found == {"missing": [], "unused": [], "reshaped": [], "retyped": []} | parts
    assert caught.value.subject == "place"


def test_a_weight_without_a_rule_is_missing():
    with pytest.raises(WeightsMismatchError) as caught:
        match("place", WEIGHTS | weights(new=(1,)), TENSORS, RULES)
    assert caught.value.missing == ["new"]


def test_optional_weights_may_be_missing_and_are_reported():
    found = match("place", WEIGHTS, tensors(bias=(3,)), RULES, optional=("ker*", "other"))
    assert found.fresh == ["kernel"]
    assert found.sources == rules(bias="bias")


def test_a_model_may_lack_optional_weights_too():
    found = match("place", {}, tensors(bias=(3,)), {"bias": RULES["bias"]}, optional=("bias",))
    assert (found.sources, found.fresh) == ({}, [])
    with pytest.raises(WeightsMismatchError, match="bias"):
        match("place", {}, tensors(bias=(3,)), {"bias": RULES["bias"]})


def test_an_optional_weight_that_is_there_must_fit():
    with pytest.raises(WeightsMismatchError) as caught:
        match("place", WEIGHTS, tensors(weight=(9, 9), bias=(3,)), RULES, optional=("kernel",))
    assert caught.value.reshaped == [("kernel", (3, 2), (9, 9))]


@pytest.mark.parametrize(
    ("stored", "wanted", "fits"),
    [
        ("float32", "float32", True),
        ("bfloat16", "float32", True),
        ("float16", "bfloat16", True),
        ("float64", "float32", True),
        ("float32", "bfloat16", True),
        ("int8", "int8", True),
        ("bool", "bool", True),
        ("float8_e4m3fn", "float8_e4m3fn", True),
        ("int8", "float32", False),
        ("int64", "int32", False),
        ("float32", "int8", False),
        ("bool", "float32", False),
        ("uint8", "int8", False),
        ("float8_e4m3fn", "float32", False),
        ("float32", "float8_e5m2", False),
        ("float8_e4m3fn", "float8_e5m2", False),
    ],
)
def test_numbers_are_never_turned_into_another_kind(stored, wanted, fits):
    one = {"a": SimpleNamespace(shape=(2,), dtype=wanted)}
    held = {"x": layout_of("x", stored, (2,))}
    if fits:
        assert match("place", one, held, rules(a="x")).sources == rules(a="x")
        return
    with pytest.raises(WeightsMismatchError) as caught:
        match("place", one, held, rules(a="x"))
    assert len(caught.value.retyped) == 1
