"""Batches and their shapes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra_text.tasks import shapes

pytestmark = pytest.mark.keras(once=True)

lengths = st.lists(st.integers(0, 300), min_size=1, max_size=200).map(np.array)


@given(lengths, st.integers(1, 40))
def test_batches_by_tokens_have_every_row_once_and_few_shapes(lengths, batch_size):
    batches = list(shapes.by_tokens(lengths, batch_size))
    assert sorted(np.concatenate([rows for rows, _ in batches])) == list(range(len(lengths)))
    for rows, shape in batches:
        assert 0 < len(rows) <= batch_size == shape.rows
        assert lengths[rows].max() <= shape.length
        assert lengths[rows].sum() <= shape.tokens
    assert len({shape for _, shape in batches}) <= 6  # 16, 32, … 512


def test_batches_by_tokens_are_nearly_full():
    lengths = np.random.default_rng(0).lognormal(3.5, 0.6, 5000).astype(int).clip(3, 512)
    computed = sum(shape.tokens for _, shape in shapes.by_tokens(lengths, 32))
    padded = sum(len(rows) * lengths[rows].max() for rows in shapes.by_length(lengths, 32))
    assert computed < 1.05 * lengths.sum()
    assert padded < 1.05 * lengths.sum()


def mask_of(lengths, width):
    return (np.arange(width) < np.array(lengths)[:, None]).astype("int32")


def test_inputs_get_a_shape_with_copies_of_the_last_row():
    mask = mask_of([5, 3], 5)
    inputs, tokens = shapes.shaped({"padding_mask": mask, "token_ids": mask * 7}, shapes.Shape(4, 8, 16), None)
    assert inputs["token_ids"].shape == (4, 8)
    assert np.array_equal(inputs["token_ids"][3], [7, 7, 7, 0, 0, 0, 0, 0])
    assert tokens.positions.shape == (16,)
    assert np.array_equal(tokens.positions[:8], [0, 1, 2, 3, 4, 8, 9, 10])
    assert np.array_equal(tokens.numbers[1:, :3], [[5, 6, 7]] * 3)


@pytest.mark.parametrize(("most", "length"), [(None, 8), (6, 6), (4, 5)])
def test_nothing_is_padded_above_the_tokens_that_a_model_takes(most, length):
    inputs, _ = shapes.shaped({"padding_mask": mask_of([5], 5)}, shapes.Shape(1, 8, None), most)
    assert inputs["padding_mask"].shape == (1, length)


def test_a_batch_without_tokens_computes_its_padding():
    inputs, tokens = shapes.shaped({"padding_mask": mask_of([0], 1)}, shapes.Shape(2, 16, 16), None)
    assert tokens is None
    assert inputs["padding_mask"].shape == (2, 16)
    assert shapes.tokens_of(np.zeros((2, 1), "int32"), 0) is None


def test_padding_is_removed_from_a_share_on():
    assert shapes.tokens_of(mask_of([20, 19], 20), 0.1) is None
    assert len(shapes.tokens_of(mask_of([20, 10], 20), 0.1).positions) == 30
    assert len(shapes.tokens_of(mask_of([20, 20], 20), 0).positions) == 40


@pytest.mark.parametrize(
    ("rows", "length", "shape"), [(1, 1, (1, 16)), (3, 17, (4, 32)), (20, 65, (30, 96)), (30, 1025, (30, 1152))]
)
def test_shapes_of_batches_that_compute_padding_are_few(rows, length, shape):
    assert shapes.rounded(rows, length, 30) == (*shape, None)
