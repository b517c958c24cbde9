"""Tensors that view the memory of arrays."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import keras
import torch

if TYPE_CHECKING:
    import numpy as np

# torch accepts no numpy arrays of these dtypes, so their bits are passed as integers of the same size.
_BITS = {"bfloat16": ("uint16", torch.bfloat16)}
_BITS |= {name: ("uint8", getattr(torch, name)) for name in ("float8_e4m3fn", "float8_e5m2")}


def to_tensor(array: np.ndarray[Any, Any], dtype: str) -> Any:
    """Returns a tensor on Keras's current device; on the CPU and with the array's dtype, it views the array's memory.

    A non-contiguous array smaller than a page is copied: a view would save no memory, and some processors round
    products
    with few columns differently if the memory order is different.
    """
    if not array.size:  # torch cannot export a tensor that views an array without elements
        return keras.ops.empty(array.shape, dtype)
    if array.nbytes < mmap.PAGESIZE:
        array = array if array.flags.c_contiguous else array.copy(order="C")
    stored = array.dtype.name
    if stored in _BITS:
        integers, floats = _BITS[stored]
        tensor = torch.from_numpy(array.view(integers)).view(floats)
    else:
        tensor = torch.from_numpy(array)
    return keras.ops.convert_to_tensor(tensor, dtype)
