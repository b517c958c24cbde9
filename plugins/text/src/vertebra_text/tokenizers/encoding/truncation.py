"""How many tokens of each text are kept when a sequence is too long."""

from __future__ import annotations

from typing import Any

import numpy as np

from vertebra.errors import ArgumentError
from vertebra_text.errors import TextError
from vertebra_text.tokenizers.encoding.options import CALL

Lengths = np.ndarray[Any, Any]
"""Numbers of tokens, one for each text: int64, shape (batch,)."""


def kept_lengths(
    first: Lengths, second: Lengths | None, most: int | None, strategy: str
) -> tuple[Lengths, Lengths | None]:
    """Returns how many tokens are kept of each text, as the `tokenizers` library decides.

    Args:
        first: Tokens of the first texts.
        second: Tokens of the second texts, or None.
        most: The most tokens of both together, without special tokens; None means no limit.
        strategy: One of `TRUNCATIONS`.

    Raises:
        ArgumentError: a sequence is too long, and the strategy cannot shorten it.
    """
    total = first if second is None else first + second
    if most is None or strategy == "do_not_truncate" or not len(total) or int(total.max()) <= most:
        return first, second
    if strategy == "error":
        raise _too_long(total, most, "or choose another truncation")
    if strategy == "only_second" and second is None:
        raise ArgumentError(CALL, "truncation", strategy, "'only_first' or 'longest_first', since there are no pairs")
    if second is None:
        return np.minimum(first, most), None
    if strategy == "longest_first":
        return _balanced(first, second, most)
    if most == 0:
        return np.zeros_like(first), np.zeros_like(second)
    excess = np.maximum(total - most, 0)
    chosen = first if strategy == "only_first" else second
    fails = (excess > 0) & (excess >= chosen)  # the library leaves no text empty
    if np.any(fails):
        raise _too_long(np.where(fails, total, 0), most, "or truncate with 'longest_first'")
    return (first - excess, second) if strategy == "only_first" else (first, second - excess)


def _balanced(first: Lengths, second: Lengths, most: int) -> tuple[Lengths, Lengths]:
    """Keeps the shorter text whole as long as it needs at most half of the room."""
    short = np.minimum(first, second)
    room = np.where(short > most, short, np.maximum(short, most - short))
    fits = short + room <= most
    kept_short = np.where(fits, short, most // 2)
    kept_long = np.where(fits, room, most // 2 + most % 2)
    swapped = first > second
    is_long = first + second > most
    kept_first = np.where(swapped, kept_long, kept_short)
    kept_second = np.where(swapped, kept_short, kept_long)
    return np.where(is_long, kept_first, first), np.where(is_long, kept_second, second)


def _too_long(total: Lengths, most: int, remedy: str) -> TextError:
    index = int(np.argmax(total > most))
    expected = f"at most {most} without special tokens; shorten the text, {remedy}"
    return TextError(CALL, f"texts[{index}]", f"{int(total[index])} tokens", expected)
