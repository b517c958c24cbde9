"""Tensors that view the memory of arrays."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import keras
import torch

if TYPE_CHECKING:
    import numpy as np

# numpy has no arrays of these dtypes that torch would take: the bits travel as integers of the same size.
_BITS = {"bfloat16": ("uint16", torch.bfloat16)}
_BITS |= {name: ("uint8", getattr(torch, name)) for name in ("float8_e4m3fn", "float8_e5m2")}


def to_tensor(array: np.ndarray[Any, Any], dtype: str) -> Any:
    """Returns a tensor on Keras's current device: on the CPU and in the stored dtype it views the array's memory.

    An array that does not lie in order is copied if it is smaller than a page, of which a view would save nothing:
    some processors round products with few columns otherwise where the memory is in another order.
    """
    if not array.size:  # torch cannot export a tensor that views an array without elements
        return keras.ops.empty(array.shape, dtype)
    if array.nbytes < mmap.PAGESIZE:
        array = array if array.flags.c_contiguous else array.copy(order="C")
    stored = array.dtype.name
    if stored in _BITS:
        bits, real = _BITS[stored]
        tensor = torch.from_numpy(array.view(bits)).view(real)
    else:
        tensor = torch.from_numpy(array)
    return keras.ops.convert_to_tensor(tensor, dtype)
