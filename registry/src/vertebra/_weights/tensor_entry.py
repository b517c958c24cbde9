"""A tensor in a weights file, as every format describes it: name, dtype, shape and position."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vertebra._system.file_identity import Identity

if TYPE_CHECKING:
    import numpy as np


ALIGNMENT = 64
"""`jax.device_put` views a host buffer that starts at a multiple of this many bytes, and copies any other."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor in a file, as its header describes it."""

    name: str
    dtype: str
    """Keras name of the stored dtype."""
    shape: tuple[int, ...]
    start: int
    """Position of the first byte in the file."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file holds."""

    entries: dict[str, TensorEntry]
    metadata: dict[str, str]
    identity: Identity | None = None
    """Of the file, once it was read."""


def layout_of(name: str, dtype: str, shape: tuple[int, ...]) -> TensorEntry:
    """Describes a tensor that is to be written."""
    return TensorEntry(name, dtype, shape, 0, math.prod(shape) * itemsize(dtype))


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Returns the numpy dtype of a Keras dtype name, those of ml_dtypes included."""
    import ml_dtypes
    import numpy as np

    return np.dtype(getattr(ml_dtypes, name, None) or name)


def itemsize(dtype: str) -> int:
    """Returns the bytes of one item, without importing numpy."""
    if dtype == "bool" or dtype.startswith("float8"):
        return 1
    return 2 if dtype == "bfloat16" else int(dtype.lstrip("uintfloa")) // 8
