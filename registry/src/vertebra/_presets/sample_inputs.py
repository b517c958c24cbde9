"""Generates a small sample input for a backbone, the same on every machine."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

_ROWS, _LENGTH, _PADDING = 2, 8, 3


def sample_of(backbone: Any) -> Any:
    """Returns arrays in the structure of a backbone's inputs.

    Token ids are spread over the vocabulary, without that of padding; the last row of a mask ends in padding; other
    integers are 0; floats are values of a cosine.
    """
    return keras.tree.map_structure(lambda tensor: _sample(backbone, tensor), backbone.input)


def _sample(backbone: Any, tensor: Any) -> np.ndarray[Any, Any]:
    length = min(_LENGTH, getattr(backbone, "max_sequence_length", _LENGTH))
    shape = tuple(size or (length if axis else _ROWS) for axis, size in enumerate(tensor.shape))
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if "mask" in tensor.name:
        return _mask(shape, length).astype(dtype)
    if "float" in dtype:
        return np.cos(np.arange(math.prod(shape))).reshape(shape).astype(dtype)
    if tensor.name != "token_ids":
        return np.zeros(shape, dtype)
    rows = getattr(getattr(backbone, "token_embedding", None), "input_dim", 1)
    ids = np.arange(1, 1 + math.prod(shape)) * 7919 % rows
    # Padding that no mask marks has no meaning, and formats differ in the weights for it that they keep.
    return np.where(ids == getattr(backbone, "pad_token_id", None), (ids + 1) % rows, ids).reshape(shape).astype(dtype)


def _mask(shape: tuple[int, ...], length: int) -> np.ndarray[Any, Any]:
    mask = np.ones(shape)
    if len(shape) == 2 and length > _PADDING:
        mask[-1, -_PADDING:] = 0
    return mask
