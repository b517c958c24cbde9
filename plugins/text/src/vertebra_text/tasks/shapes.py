"""Batches of tokenized texts: which texts are computed together, and in arrays of which shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from vertebra import layers

Array = np.ndarray[Any, Any]

_STEPS = ((64, 16), (256, 32), (1024, 64))
"""Lengths are rounded up where each shape is compiled: to a multiple of 16 up to 64 tokens, and so on."""
_LARGEST_STEP = 128
_SHORTEST = 16


class Shape(NamedTuple):
    """The shape in which a batch is computed, where each shape is compiled."""

    rows: int
    length: int
    tokens: int | None
    """The number of tokens that are computed, or None if padding is computed, too."""


def by_length(lengths: Array, batch_size: int) -> Iterator[Array]:
    """Yields the rows of batches, the longest first: a batch that is too large for the memory fails at once."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def by_tokens(lengths: Array, batch_size: int) -> Iterator[tuple[Array, Shape]]:
    """Yields the rows of batches, the longest first, each with one of a few shapes.

    The length is a power of two, and the tokens are half as many as `batch_size` rows of it have: as its texts are
    longer than half of it, they fill the batch, and only the last batch computes more tokens than it has.
    """
    order = np.argsort(-lengths, kind="stable")
    while len(order):
        length = max(_SHORTEST, _power_of_two(int(lengths[order[0]])))
        shape = Shape(batch_size, length, max(length, batch_size * length // 2))
        count = int(np.searchsorted(np.cumsum(lengths[order[:batch_size]]), shape.tokens, side="right"))
        yield order[:count], shape
        order = order[count:]


def rounded(rows: int, length: int, batch_size: int) -> Shape:
    """Returns one of a few shapes for a batch that computes padding: with a power of two of rows, or `batch_size`."""
    step = next((step for most, step in _STEPS if length <= most), _LARGEST_STEP)
    return Shape(min(_power_of_two(rows), batch_size), -(-length // step) * step, None)


def shaped(inputs: dict[str, Array], shape: Shape, most: int | None) -> tuple[dict[str, Array], layers.Tokens | None]:
    """Returns inputs in a shape, with padding at the end and copies of the last row, and their tokens.

    Args:
        inputs: The inputs by name, of shape (rows, length); `padding_mask` is one of them.
        shape: The shape; a length that is no longer than this is added to.
        most: The number of tokens that the model takes, above which nothing is padded, or None.
    """
    rows, length = inputs["padding_mask"].shape
    padded_length = max(length, shape.length if most is None else min(shape.length, most))
    columns, copies = ((0, 0), (0, padded_length - length)), ((0, shape.rows - rows), (0, 0))
    padded = {name: np.pad(array, columns) for name, array in inputs.items()}
    filled = {name: np.pad(array, copies, mode="edge") for name, array in padded.items()}
    if shape.tokens is None or not inputs["padding_mask"].any():
        return filled, None
    tokens = layers.tokens_of(padded["padding_mask"], shape.tokens)
    return filled, layers.Tokens(tokens.positions, np.pad(tokens.numbers, copies, mode="edge"))


def tokens_of(padding_mask: Array, least_padding: float) -> layers.Tokens | None:
    """Returns the tokens of a batch, or None if it has none, or less padding than a share of its positions."""
    return layers.tokens_of(padding_mask) if 0 < padding_mask.mean() <= 1 - least_padding else None


def cropped(arrays: dict[str, Array]) -> dict[str, Array]:
    """Removes the columns in which all rows are padding."""
    used = np.flatnonzero(arrays["padding_mask"].any(axis=0))
    if not len(used):
        return arrays
    columns = slice(used[0], used[-1] + 1)
    return {name: array[:, columns] if array.ndim > 1 else array for name, array in arrays.items()}


def within(arrays: dict[str, Array], most: int | None) -> dict[str, Array]:
    """Removes columns of padding, so that rows have the most tokens that a model takes, or fewer."""
    mask = arrays["padding_mask"]
    if most is None or mask.shape[1] <= most:
        return arrays
    columns = slice(-most, None) if mask[:, most:].any() else slice(most)  # padded at the beginning, or at the end
    return {name: array[:, columns] if array.ndim > 1 else array for name, array in arrays.items()}


def _power_of_two(number: int) -> int:
    """Returns the next power of two."""
    return 1 << max(number - 1, 0).bit_length()
