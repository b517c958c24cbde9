"""Inputs and values for backbones of any kind: made of the declared inputs, not of token ids."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

_NOISE = 0.2


def inputs_for(backbone: Any, rows: int, length: int | None = None) -> Any:
    """Returns inputs of a number of rows, made of `backbone.sample_inputs()`.

    Args:
        backbone: The backbone.
        rows: Number of rows; the sample's rows are repeated.
        length: Size of every other free axis, such as that of the tokens; the sample is cut or repeated. None keeps it.
    """

    def sized(tensor: Any, sample: Any) -> np.ndarray[Any, Any]:
        array = _sized(np.asarray(sample), 0, rows)
        for axis in _free_axes(tensor):
            array = _sized(array, axis, array.shape[axis] if length is None else length)
        return array

    return keras.tree.map_structure(sized, backbone.input, backbone.sample_inputs())


def has_free_length(backbone: Any) -> bool:
    """Returns whether the inputs have a free axis in addition to that of the rows."""
    return any(_free_axes(tensor) for tensor in keras.tree.flatten(backbone.input))


def disturb(variables: Any, seed: int = 0) -> None:
    """Adds noise to the values of variables, so that biases and scales matter; integers are kept."""
    draws = np.random.default_rng(seed)
    for variable in variables:
        if "float" in str(variable.dtype):
            rows = math.prod(variable.shape[:-1])
            noise = draws.normal(size=tuple(variable.shape)) * min(_NOISE, max(rows, 1) ** -0.5)
            variable.assign(variable.numpy().astype("float32") + noise)


def _free_axes(tensor: Any) -> list[int]:
    return [axis for axis, size in enumerate(tensor.shape) if axis and size is None]


def _sized(array: np.ndarray[Any, Any], axis: int, size: int) -> np.ndarray[Any, Any]:
    resized: np.ndarray[Any, Any] = np.take(array, np.arange(size) % array.shape[axis], axis)
    return resized
