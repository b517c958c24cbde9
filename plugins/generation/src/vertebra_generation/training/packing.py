"""Packs short texts into rows of one length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vertebra_generation.training.encoding import Encoded


@dataclass(frozen=True, slots=True)
class Row:
    """The texts of one row of a batch."""

    texts: tuple[Encoded, ...]


def pack(texts: Sequence[Encoded], length: int) -> list[Row]:
    """Returns rows of texts, each with at most `length` inputs; a text is never split.

    The longest text comes first, and each goes into the fullest row that has room for it, which fills rows nearly as
    well as possible (best-fit decreasing; Johnson et al. 1974, doi:10.1137/0203025).

    Args:
        texts: The texts, each with at most `length` inputs: one less than its tokens.
        length: The most inputs of a row.
    """
    rows: list[list[Encoded]] = []
    by_room: list[list[int]] = [[] for _ in range(length + 1)]
    for text in sorted(texts, key=lambda one: -len(one.ids)):
        size = max(len(text.ids) - 1, 0)
        if not size:
            continue
        room = next((room for room in range(size, length + 1) if by_room[room]), None)
        if room is None:
            number, room = len(rows), length
            rows.append([])
        else:
            number = by_room[room].pop()
        rows[number].append(text)
        by_room[room - size].append(number)
    return [Row(tuple(row)) for row in rows]


def weighted(text: Encoded, weight: Any) -> Encoded:
    """Returns a text whose tokens count by a further factor."""
    return Encoded(text.ids, text.weights * weight)
