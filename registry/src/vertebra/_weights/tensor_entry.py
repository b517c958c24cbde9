"""The description of a tensor in a weights file of any kind: name, dtype, shape and offset."""

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
    """A tensor in a weights file, as the file's header describes it."""

    name: str
    dtype: str
    """Keras name of the stored dtype."""
    shape: tuple[int, ...]
    start: int
    """Offset of the first byte in the file."""
    size: int
    """Bytes."""
    is_encoded: bool = False
    """Whether the bytes are not the values, which are made of them in new memory."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a weights file: its tensors and metadata."""

    entries: dict[str, TensorEntry]
    """The tensors by name."""
    metadata: dict[str, str]
    identity: Identity | None = None
    """The identity of the file that was read."""


def layout_of(name: str, dtype: str, shape: tuple[int, ...]) -> TensorEntry:
    """Describes a tensor to be written; its offset is not known yet, and is 0."""
    return TensorEntry(name, dtype, shape, 0, math.prod(shape) * itemsize(dtype))


def describe_tensor(name: str, entry: TensorEntry) -> dict[str, Any]:
    """Returns a tensor's entry in a header as plain data."""
    return {
        "name": name,
        "shape": list(entry.shape),
        "dtype": entry.dtype,
        "parameters": math.prod(entry.shape),
        "bytes": entry.size,
    }


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Returns the numpy or ml_dtypes dtype for the name of a Keras dtype."""
    import ml_dtypes
    import numpy as np

    return np.dtype(getattr(ml_dtypes, name, None) or name)


def itemsize(dtype: str) -> int:
    """Returns the bytes of one item, without importing numpy."""
    if dtype == "bool" or dtype.startswith("float8"):
        return 1
    return 2 if dtype == "bfloat16" else int(dtype.lstrip("uintfloa")) // 8
