"""Compares outputs of backbones: arrays in any structure, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest

from vertebra._presets.certificate import difference, flatten

_ADDRESSES = ("data_ptr", "unsafe_buffer_pointer")
"""Methods of tensors that return where their values are in memory."""

Arrays = Mapping[str, np.ndarray[Any, Any]]


def arrays_of(outputs: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the outputs of a call as float32 arrays, by name."""
    convert = keras.ops.convert_to_numpy
    return {name: convert(tensor).astype("float32") for name, tensor in flatten("outputs", outputs).items()}


def computed(model: Any, inputs: Any, **arguments: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the outputs of a model for inference, as float32 arrays by name."""
    return arrays_of(model(inputs, training=False, **arguments))


def largest_difference(found: Arrays, expected: Arrays) -> float:
    """Returns the largest relative difference of an output: the norm of the difference, divided by that of the output.

    Outputs with other names or shapes, and outputs that are not finite, differ by infinity.
    """
    shapes = [{name: array.shape for name, array in arrays.items()} for arrays in (found, expected)]
    if shapes[0] != shapes[1] or not all(np.isfinite(array).all() for array in found.values()):
        return float("inf")
    return max(difference(found[name], expected[name]) for name in expected)


def rows_of(arrays: Arrays, rows: slice) -> dict[str, np.ndarray[Any, Any]]:
    """Returns some rows of all arrays."""
    return {name: array[rows] for name, array in arrays.items()}


def address_of(tensor: Any) -> int:
    """Returns where a tensor's values start in memory; skips the test if the tensor does not tell."""
    if isinstance(tensor, np.ndarray):
        return int(tensor.ctypes.data)
    for method in _ADDRESSES:
        if hasattr(tensor, method):
            return int(getattr(tensor, method)())
    pytest.skip(f"a {type(tensor).__name__} does not tell where its values are")
