"""The largest numbers of long rows, without sorting the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_WIDEST_GROUP = 64


def largest(row: Array, count: int) -> Array:
    """Returns the indices of the `count` largest numbers, largest first; of equal ones, the first in the row is first.

    Args:
        row: Numbers without NaN, shape (length,).
        count: At least 1; the whole row if it is not longer.
    """
    indices = reaching(row, count)
    ordered: Array = indices[np.argsort(-row[indices], kind="stable")]
    return ordered[:count]


def reaching(row: Array, count: int) -> Array:
    """Returns the indices, in ascending order, of the numbers that are not less than the `count`-th largest.

    There are more than `count` of them if that number occurs several times.

    Args:
        row: Numbers without NaN, shape (length,).
        count: At least 1; the whole row if it is not longer.
    """
    if count >= len(row):
        return np.arange(len(row))
    indices = np.flatnonzero(row >= _lower_bound(row, count))
    found = row[indices]
    smallest = np.partition(found, len(found) - count)[len(found) - count]
    chosen: Array = indices[found >= smallest]
    return chosen


def _lower_bound(row: Array, count: int) -> Any:
    """Returns a number that at least `count` numbers of the row reach, and few more.

    It is the `count`-th largest of the maxima of groups, which takes one pass over the row.
    """
    width = min(_WIDEST_GROUP, len(row) // (4 * count))
    values = row
    if width > 1:
        groups = len(row) // width
        values = row[: width * groups].reshape(width, groups).max(axis=0)
    return np.partition(values, len(values) - count)[len(values) - count]
