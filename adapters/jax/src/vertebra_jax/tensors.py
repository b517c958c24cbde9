"""Tensors that view the memory of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    import numpy as np


def to_tensor(array: np.ndarray[Any, Any], dtype: str) -> Any:
    """Returns a tensor on JAX's default device.

    On the CPU it views the array's memory if the dtype is the stored one and the array is contiguous and starts at
    a multiple of 64 bytes; jax copies any other.
    """
    return jax.device_put(array if array.dtype.name == dtype else array.astype(jax.numpy.dtype(dtype)))


def is_tracing() -> bool:
    """Says whether a function is being traced in this thread: whatever is computed then is a tracer."""
    return isinstance(jax.numpy.zeros(()), jax.core.Tracer)
