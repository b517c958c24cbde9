"""Tensor layout: extracting weights from a tensor and assembling it are inverse, and views are used where possible."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra import TensorRule
from vertebra._weights.tensor_layout import fits, holders, put, stored_shape, take, weight_shape

sizes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@st.composite
def layouts(draw):
    """Draws the rules of the weights that share a tensor, and the shape of each."""
    parts = draw(st.integers(1, 3))
    kind = draw(st.sampled_from(["plain", "reversed", "reshaped"]))
    if kind != "reshaped":
        weight, how = draw(sizes), {"transpose": kind == "reversed"}
    else:
        stored = (*draw(sizes), parts)  # so that the joined weights have as many items
        axes = draw(st.none() | st.permutations(range(len(stored))).map(tuple))
        count = math.prod(stored) // parts
        rows = draw(st.sampled_from([number for number in range(1, count + 1) if count % number == 0]))
        weight, how = (rows, count // rows), {"shape": stored, "axes": axes}
    of = [None] if parts == 1 else [(index, parts) for index in range(parts)]
    return [TensorRule("tensor", part=part, **how) for part in of], weight


@given(layouts())
def test_what_is_put_into_a_tensor_is_taken_out_of_it(layout):
    rules, shape = layout
    count = math.prod(shape)
    weights = [np.arange(index * count, (index + 1) * count).reshape(shape) for index in range(len(rules))]
    tensor = put(rules, weights)
    assert tensor.shape == stored_shape(rules[0], shape)
    for rule, weight in zip(rules, weights, strict=True):
        assert fits(rule, shape, tensor.shape)
        np.testing.assert_array_equal(take(rule, tensor, shape), weight, strict=True)


def test_parts_of_different_widths_are_put_together_and_taken_apart():
    rules = [TensorRule("x", transpose=True, part=part) for part in ((0, 4, 2), (2, 4, 1), (3, 4, 1))]
    weights = [np.arange(12).reshape(2, 6), 100 + np.arange(6).reshape(2, 3), 200 + np.arange(6).reshape(2, 3)]
    tensor = put(rules, weights)
    assert tensor.shape == (12, 2)
    for rule, weight in zip(rules, weights, strict=True):
        assert fits(rule, weight.shape, tensor.shape)
        np.testing.assert_array_equal(take(rule, tensor, weight.shape), weight, strict=True)
    assert not fits(rules[0], (2, 5), tensor.shape)


@given(layouts())
def test_what_is_taken_out_of_a_tensor_makes_the_same_tensor(layout):
    rules, shape = layout
    tensor = np.arange(len(rules) * math.prod(shape)).reshape(stored_shape(rules[0], shape))
    np.testing.assert_array_equal(put(rules, [take(rule, tensor, shape) for rule in rules]), tensor, strict=True)


@pytest.mark.parametrize(
    ("rule", "stored", "weight"),
    [
        (TensorRule("x"), (2, 3), (2, 3)),
        (TensorRule("x", transpose=True), (3, 2), (2, 3)),
        (TensorRule("x", transpose=True), (4, 3, 2), (2, 3, 4)),
        (TensorRule("x", part=(1, 3)), (2, 9), (2, 3)),
        (TensorRule("x", part=(2, 3)), (9,), (3,)),
        (TensorRule("x", part=(0, 4, 2)), (2, 12), (2, 6)),
        (TensorRule("x", transpose=True, part=(2, 4, 1)), (12, 2), (2, 3)),
        (TensorRule("x", transpose=True, part=(1, 2)), (6, 2), (2, 3)),
        (TensorRule("x", shape=(4, 2, 3)), (4, 2, 3), (4, 6)),
        (TensorRule("x", shape=(2, 3)), (2, 3), (6,)),
        (TensorRule("x"), (), ()),
    ],
)
def test_a_layout_that_needs_no_copy_is_a_view(rule, stored, weight):
    tensor = np.zeros(stored)
    taken = take(rule, tensor, weight)
    assert taken.shape == weight
    assert np.shares_memory(taken, tensor)


def test_heads_that_come_first_are_put_in_order():
    tensor = np.arange(24).reshape(2, 4, 3)  # heads, width, size of a head
    rule = TensorRule("x", shape=(2, 4, 3), axes=(1, 0, 2))
    taken = take(rule, tensor, (4, 6))
    np.testing.assert_array_equal(taken[:, :3], tensor[0])
    np.testing.assert_array_equal(taken[:, 3:], tensor[1])


def test_the_second_of_three_parts_is_in_the_middle():
    tensor = np.arange(18).reshape(2, 9)
    np.testing.assert_array_equal(take(TensorRule("x", part=(1, 3)), tensor, (2, 3)), tensor[:, 3:6])


@pytest.mark.parametrize(
    ("rule", "weight", "stored"),
    [
        (TensorRule("x"), (2, 3), (3, 2)),
        (TensorRule("x"), (2, 3), (6,)),
        (TensorRule("x", transpose=True), (2, 3), (2, 3)),
        (TensorRule("x", part=(0, 3)), (2, 3), (2, 3)),
        (TensorRule("x", part=(0, 3)), (2, 3), (2, 10)),
        (TensorRule("x", shape=(2, 2, 2)), (2, 3), (2, 2, 2)),
        (TensorRule("x", shape=(6,)), (2, 3), (3, 2)),
        (TensorRule("x", shape=(6,), part=(0, 2)), (2, 3), (6,)),
    ],
)
def test_a_tensor_of_another_shape_does_not_fit(rule, weight, stored):
    assert not fits(rule, weight, stored)


def test_tensors_hold_their_weights_in_the_order_of_the_parts():
    rules = {
        "value": TensorRule("qkv", part=(2, 3)),
        "query": TensorRule("qkv", part=(0, 3)),
        "out": TensorRule("out", transpose=True),
        "key": TensorRule("qkv", part=(1, 3)),
    }
    assert holders(rules) == {"qkv": ["query", "key", "value"], "out": ["out"]}


def test_rows_that_a_tensor_lacks_are_zero_and_not_written():
    rule = TensorRule("positions", first_row=2)
    stored = np.arange(6, dtype="float32").reshape(3, 2)
    assert (stored_shape(rule, (5, 2)), weight_shape(rule, (3, 2))) == ((3, 2), (5, 2))
    assert fits(rule, (5, 2), (3, 2))
    assert not fits(rule, (5, 2), (5, 2))
    taken = take(rule, stored, (5, 2))
    assert np.array_equal(taken, np.concatenate([np.zeros((2, 2)), stored]))
    taken[:2] = 7
    assert np.array_equal(put([rule], [taken]), stored)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_row_that_is_contained_in_every_row_is_added_and_read_as_zero(dtype):
    rules = [TensorRule("positions", first_row=2), TensorRule("positions", added=True)]
    positions, row = np.arange(10).reshape(5, 2).astype(dtype), np.array([[3, 5]], dtype)
    stored = put(rules, [positions, row])
    assert stored.dtype == dtype
    assert np.array_equal(stored, positions[2:] + row)
    assert weight_shape(rules[1], (3, 2)) == (1, 2)
    assert fits(rules[1], (1, 2), (3, 2))
    assert not fits(rules[1], (1, 3), (3, 2))
    assert np.array_equal(take(rules[1], stored, (1, 2)), np.zeros((1, 2)))
    named = {"row": rules[1], "positions": rules[0]}
    assert holders(named) == {"positions": ["positions", "row"]}
