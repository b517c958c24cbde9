"""Tensors that view the memory of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

from vertebra_jax.models import require_threads

if TYPE_CHECKING:
    import numpy as np


def to_tensor(array: np.ndarray[Any, Any], dtype: str) -> Any:
    """Returns a tensor on JAX's default device.

    On the CPU, the tensor views the array's memory if the array has the dtype, is contiguous and starts at a multiple
    of 64 bytes; JAX copies all other arrays.
    """
    require_threads()
    return jax.device_put(array if array.dtype.name == dtype else array.astype(jax.numpy.dtype(dtype)))


def is_tracing() -> bool:
    """Returns whether JAX is tracing a function in this thread: every computed value is then a tracer."""
    return isinstance(jax.numpy.zeros(()), jax.core.Tracer)
