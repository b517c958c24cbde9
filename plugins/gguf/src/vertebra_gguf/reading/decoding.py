"""The values of tensors: dequantised by the `gguf` package, and in the order of transformers' checkpoints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra import FileTensor
from vertebra_gguf.reading.encodings import BY_NAME, Encoding
from vertebra_gguf.reading.layouts import Layout

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

_AT_ONCE = 2**20
"""Values that are dequantised at once: the package needs several times their memory."""


def decode(tensor: FileTensor, data: memoryview) -> Array:
    """Returns the values of a tensor.

    Args:
        tensor: The tensor; its encoding is the name of a type, and a layout or None.
        data: Its bytes.
    """
    how: Any = tensor.encoding
    encoding, layout = BY_NAME[how[0]], how[1]
    stored = layout.stored(tensor.shape) if layout else tensor.shape
    values = _plain(encoding, data) if encoding.is_plain else _dequantised(encoding, data, math.prod(stored))
    arranged = _arranged(values.reshape(stored), layout)
    return np.ascontiguousarray(arranged.astype(_dtype(tensor.dtype), copy=False))


def _plain(encoding: Encoding, data: memoryview) -> Array:
    return np.frombuffer(data, _dtype(encoding.dtype)).copy()


def _dequantised(encoding: Encoding, data: memoryview, count: int) -> Array:
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    kind = GGMLQuantizationType[encoding.name]
    values, stored = np.empty(count, "float32"), np.frombuffer(data, "uint8")
    blocks = _AT_ONCE // encoding.block
    with np.errstate(all="ignore"):  # the scales in a file may be infinite, or NaN
        for first in range(0, count // encoding.block, blocks):
            part = stored[first * encoding.size : (first + blocks) * encoding.size]
            decoded = dequantize(part, kind)
            values[first * encoding.block : first * encoding.block + decoded.size] = decoded
    return values


def _arranged(values: Array, layout: Layout | None) -> Array:
    if layout is None:
        return values
    if layout.transposed:
        return values.T
    if layout.shift:
        with np.errstate(all="ignore"):
            return values.astype("float32", copy=False) - np.float32(layout.shift)
    rows = values.reshape(layout.heads, len(values) // layout.heads // 2, 2, *values.shape[1:])
    return rows.swapaxes(1, 2).reshape(values.shape)


def _dtype(name: str) -> np.dtype[Any]:
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, name, None) or name)
