"""Names of classes, and labels by name or number."""

from __future__ import annotations

from collections.abc import Sequence
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
    if isinstance(labels, str) or (labels is not None and len(set(labels)) != len(labels)):
        raise ArgumentError(task, "labels", labels, "a list of names, each once")
    count = len(labels) if num_classes is None and labels else num_classes
    if type(count) is not int or count < 1:
        raise ArgumentError(task, "num_classes", count, "the number of classes, or labels=[...]")
    if labels is not None and len(labels) != count:
        raise ArgumentError(task, "labels", f"{len(labels)} names", f"num_classes={count} names")
    return count


def checked_names(count: int, labels: Sequence[str] | None) -> list[str]:
    """Returns the names of classes; without any, transformers' `LABEL_0`, `LABEL_1`, …"""
    return [f"LABEL_{number}" for number in range(count)] if labels is None else [str(name) for name in labels]


def class_numbers(task: str, y: Any, labels: Sequence[str]) -> Any:
    """Returns labels as numbers of classes, int32.

    Raises:
        ArgumentError: a label is neither the name nor the number of a class.
    """
    values = np.asarray(y)
    if values.dtype.kind in "US":
        known = {name: number for number, name in enumerate(labels)}
        unknown = next((str(value) for value in values.flat if str(value) not in known), None)
        if unknown is not None:
            raise ArgumentError(task, "y", unknown, f"one of {', '.join(labels)}")
        return np.vectorize(lambda value: known[str(value)], otypes=["int32"])(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind not in "iub" or values.ndim != 1:
        raise ArgumentError(task, "y", f"{values.dtype} of shape {values.shape}", "one class for each text")
    wrong = values[(values < 0) | (values >= len(labels))] if values.dtype.kind != "b" else values[:0]
    if len(wrong):
        raise ArgumentError(task, "y", int(wrong[0]), f"a class from 0 to {len(labels) - 1}")
    return values.astype("int32")
