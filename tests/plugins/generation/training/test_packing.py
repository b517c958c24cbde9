"""Packing texts into rows."""

import numpy as np
import pytest

from vertebra_generation.training.encoding import Encoded
from vertebra_generation.training.packing import pack, weighted


def text(inputs, first=0):
    """A text that takes a number of positions in a row."""
    return Encoded(np.arange(first, first + inputs + 1, dtype="int32"), np.ones(inputs + 1, "float32"))


def sizes(rows):
    return [[len(one.ids) - 1 for one in row.texts] for row in rows]


def test_texts_fill_rows():
    assert sizes(pack([text(size) for size in (3, 5, 2, 8, 4, 1)], 8)) == [[8], [5, 3], [4, 2, 1]]


def test_texts_go_into_the_fullest_row_with_room():
    assert sizes(pack([text(size) for size in (7, 6, 2, 1)], 8)) == [[7, 1], [6, 2]]


@pytest.mark.parametrize("seed", range(3))
def test_every_text_is_in_one_row_and_no_row_is_too_long(seed):
    draws = np.random.default_rng(seed)
    texts = [text(int(size), 100 * number) for number, size in enumerate(draws.integers(1, 40, 200))]
    rows = pack(texts, 40)
    assert all(sum(row) <= 40 for row in sizes(rows))
    assert sorted(one.ids[0] for row in rows for one in row.texts) == [one.ids[0] for one in texts]
    total = sum(len(one.ids) - 1 for one in texts)
    assert len(rows) <= -(-total // 40) * 1.1


def test_a_text_without_a_next_token_is_left_out():
    assert pack([text(0), Encoded(np.zeros(0, "int32"), np.zeros(0, "float32"))], 8) == []


def test_a_weight_is_of_all_tokens_of_a_text():
    assert weighted(text(2), 0.5).weights.tolist() == [0.5, 0.5, 0.5]
