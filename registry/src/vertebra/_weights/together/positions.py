"""Positions in a file of the numbers of a part of a tensor, and writing the part to them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vertebra._weights.tensor_entry import TensorEntry, numpy_dtype

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def addresses_of(entry: TensorEntry) -> Array:
    """Returns an array of a tensor's shape whose views tell positions in the file; its values must not be read."""
    import numpy as np

    dtype = numpy_dtype(entry.dtype)
    strides = [dtype.itemsize] * len(entry.shape)
    for axis in reversed(range(len(strides) - 1)):
        strides[axis] = strides[axis + 1] * entry.shape[axis + 1]
    return np.lib.stride_tricks.as_strided(np.zeros(1, dtype), entry.shape, strides, writeable=False)


def _address(array: Array) -> int:
    position: int = array.__array_interface__["data"][0]
    return position


def write_parts(
    file: int, start: int, tensor: Array, view: Array, parts: Iterable[tuple[tuple[slice, ...], Array]]
) -> int:
    """Writes parts of a weight to an open file, and returns their bytes.

    Args:
        file: The descriptor.
        start: The position of the tensor in the file.
        tensor: The addresses of the tensor.
        view: The addresses of the weight in it.
        parts: Indexes and values of the parts.
    """
    written = 0
    for index, values in parts:
        target = view[(*index, ...)]  # type: ignore[arg-type]
        if target.shape != values.shape or target.dtype != values.dtype:
            raise ValueError(f"a part is {values.dtype} {values.shape}, expected {target.dtype} {target.shape}")
        if values.size:
            _write_part(file, start + _address(target) - _address(tensor), target, values)
        written += values.nbytes
    return written


def _write_part(file: int, position: int, target: Array, values: Array) -> None:
    """Writes values where their addresses are, in as few calls as there are runs of bytes."""
    import numpy as np

    order = sorted(range(target.ndim), key=lambda axis: -target.strides[axis] if target.shape[axis] > 1 else 0)
    target, values = target.transpose(order), np.ascontiguousarray(values.transpose(order))
    run, outer = target.itemsize, target.ndim
    while outer and (target.shape[outer - 1] == 1 or target.strides[outer - 1] == run):
        run *= target.shape[outer - 1]
        outer -= 1
    data = memoryview(values.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    steps = zip(target.shape[:outer], target.strides[:outer], strict=True)
    offsets = [range(0, count * stride, stride) for count, stride in steps]
    for number, offset in enumerate(itertools.product(*offsets)):
        _write_all(file, data[number * run : (number + 1) * run], position + sum(offset))


def _write_all(file: int, data: memoryview, position: int) -> None:
    while data:
        count = os.pwrite(file, data, position)
        data, position = data[count:], position + count
