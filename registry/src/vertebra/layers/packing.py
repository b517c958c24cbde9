"""Packed rows: several texts in one row of a batch, which decoders keep apart."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

_numbers: ContextVar[Any] = ContextVar("vertebra_text_numbers", default=None)
"""The numbers of the texts of the call that is computed in this thread, or None if each row is one text."""


@contextlib.contextmanager
def packed(numbers: Any) -> Iterator[None]:
    """Keeps the texts of each row apart in calls of a decoder within the block.

    A token then attends to tokens of its own text only, and positions begin at 0 in each text. A decoder whose layers
    use `CausalMask`, and `positions`, `PositionEmbedding` or `RotaryEmbedding`, does so.

    Args:
        numbers: For each token, the number of its text in the row, in ascending order from 1; 0 for padding: int32,
            shape `(batch, length)`. None means that each row is one text.
    """
    token = _numbers.set(numbers)
    try:
        yield
    finally:
        _numbers.reset(token)


def text_numbers() -> Any:
    """Returns the numbers that `packed` got, or None."""
    return _numbers.get()
