"""Arguments of any structure as a list of tensors, in a small part of the time that `keras.tree` takes for a cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import torch


def flattened(value: Any, leaves: list[Any]) -> Any:
    """Adds the values in a structure to a list, in the order of `keras.tree.flatten`; returns a key of the structure.

    Args:
        value: Dicts, lists and tuples of values, or anything that `keras.tree` knows.
        leaves: The list.
    """
    kind = type(value)
    if kind is dict:
        return kind, tuple((name, flattened(value[name], leaves)) for name in sorted(value))
    if kind is list or kind is tuple or hasattr(kind, "_fields"):
        return kind, tuple(flattened(inner, leaves) for inner in value)
    if isinstance(value, dict | list | tuple):
        leaves += keras.tree.flatten(value)
        return repr(keras.tree.map_structure(lambda _: 0, value))
    leaves.append(value)
    return 0


def as_tensors(values: Sequence[Any]) -> list[torch.Tensor]:
    """Returns values as tensors on Keras's current device, which that of the first one is."""
    tensors = [keras.ops.convert_to_tensor(value) for value in values[:1]]
    for value in values[1:]:
        is_ready = type(value) is torch.Tensor and value.device == tensors[0].device
        tensors.append(value if is_ready else keras.ops.convert_to_tensor(value))
    return tensors
