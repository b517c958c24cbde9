"""Names of classes, and labels by name or number."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from vertebra.errors import ArgumentError

IGNORED = -100
"""The label of tokens that do not count, as in transformers."""


def checked_classes(task: str, num_classes: object, labels: Sequence[str] | None) -> int:
    """Returns the number of classes of a task's arguments.

    Raises:
        ArgumentError: neither argument is there, or they differ.
    """
    if labels is not None and not _are_names(labels):
        raise ArgumentError(task, "labels", labels, "a list of names, each once")
    count = len(labels) if num_classes is None and labels is not None else num_classes
    if type(count) is not int or count < 1:
        raise ArgumentError(task, "num_classes", count, "the number of classes, or labels=[...]")
    if labels is not None and len(labels) != count:
        raise ArgumentError(task, "labels", f"{len(labels)} names", f"num_classes={count} names")
    return count


def _are_names(labels: object) -> bool:
    """Returns whether labels are a list of texts or numbers that differ as texts."""
    if isinstance(labels, str | bytes | Mapping) or not isinstance(labels, Collection):
        return False
    names = list(labels)
    return all(isinstance(name, str | Real) for name in names) and len(set(map(str, names))) == len(names)


def checked_rate(task: str, dropout: object) -> float | None:
    """Returns the rate of a task's argument `dropout`.

    Raises:
        ArgumentError: it is neither None nor a number in [0, 1).
    """
    if dropout is None or (isinstance(dropout, Real) and not isinstance(dropout, bool) and 0 <= dropout < 1):
        return dropout  # type: ignore[return-value]
    raise ArgumentError(task, "dropout", dropout, "None, or a number in [0, 1)")


def checked_names(count: int, labels: Sequence[str] | None) -> list[str]:
    """Returns the names of classes; without any, transformers' `LABEL_0`, `LABEL_1`, …"""
    return [f"LABEL_{number}" for number in range(count)] if labels is None else [str(name) for name in labels]


def class_numbers(task: str, y: Any, labels: Sequence[str], name: str = "y", item: str = "text") -> Any:
    """Returns labels as numbers of classes, int32.

    Args:
        task: Name of the task.
        y: A label for each text or word, a name or a number.
        labels: The names of the classes.
        name: The name of `y` in errors.
        item: `text` or `word`, for errors.

    Raises:
        ArgumentError: a label is neither the name nor the number of a class.
    """
    values = np.asarray(y)
    if values.dtype.kind in "US":
        known = {label: number for number, label in enumerate(labels)}
        for number, value in enumerate(values.flat):
            if str(value) not in known:
                raise ArgumentError(task, f"{name}[{number}]", str(value), f"one of {', '.join(labels)}")
        return np.vectorize(lambda value: known[str(value)], otypes=["int32"])(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind not in "iub" or values.ndim != 1:
        raise ArgumentError(task, name, f"{values.dtype} of shape {values.shape}", f"one class for each {item}")
    wrong = np.flatnonzero((values < 0) | (values >= len(labels))) if values.dtype.kind != "b" else []
    if len(wrong):
        raise ArgumentError(task, f"{name}[{wrong[0]}]", int(values[wrong[0]]), f"a class from 0 to {len(labels) - 1}")
    return values.astype("int32")


def label_rows(task: str, y: Any, count: int, is_share: bool) -> Any:
    """Returns labels that are numbers as an array of shape (texts, count), float32.

    Args:
        task: Name of the task.
        y: For each text a row of `count` numbers, or one number if `count` is 1.
        count: The numbers of a row.
        is_share: Whether they are from 0 to 1, such as whether a class is present.

    Raises:
        ArgumentError: a row has another length, or a number is out of range or not finite.
    """
    expected = f"a row of {count} numbers for each text" if count > 1 else "a number for each text"
    try:
        values = np.asarray(y, "float32")
    except (TypeError, ValueError):
        raise ArgumentError(task, "y", y, expected) from None
    values = values[:, None] if values.ndim == 1 and count == 1 else values
    if values.ndim != 2 or values.shape[1] != count:
        raise ArgumentError(task, "y", f"an array of shape {values.shape}", expected)
    is_wrong = ~np.isfinite(values) | (is_share & ((values < 0) | (values > 1)))
    if is_wrong.any():
        row, column = np.argwhere(is_wrong)[0]
        wanted = "a number from 0 to 1" if is_share else "a finite number"
        raise ArgumentError(task, f"y[{row}]", float(values[row, column]), wanted)
    return values
