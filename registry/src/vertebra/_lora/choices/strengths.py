"""Strengths of adapters, for a whole batch or by rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vertebra.errors import LoraConfigError


def chosen_strengths(choice: Any) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Returns the names of the adapters in a choice for a call, and their strengths, for all rows or by rows.

    Raises:
        LoraConfigError: the choice has a wrong type, or a strength is not a finite number.
    """
    for_all = isinstance(choice, str | Mapping)
    rows = [choice] if for_all else choice
    if not isinstance(rows, Sequence) or not all(row is None or isinstance(row, str | Mapping) for row in rows):
        expected = "a name, a mapping from names to strengths, or a list with one of these or None for each row"
        raise LoraConfigError("LoRA adapters", "adapters", choice, expected)
    names, strengths = strength_matrix(rows)
    return names, strengths[0] if for_all else strengths


def strength_matrix(
    rows: Sequence[str | Mapping[str, float] | None],
) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Returns the names of the adapters in the rows of a batch, and a `(rows, adapters)` matrix of strengths."""
    mixes = [{row: 1.0} if isinstance(row, str) else dict(row or {}) for row in rows]
    for name, strength in (pair for mix in mixes for pair in mix.items()):
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not math.isfinite(strength):
            raise LoraConfigError("LoRA adapters", f"strength of {name!r}", strength, "a finite number")
    names = list(dict.fromkeys(name for mix in mixes for name in mix))
    strengths = [[mix.get(name, 0.0) for name in names] for mix in mixes]
    return names, np.array(strengths, "float32").reshape(len(mixes), len(names))
