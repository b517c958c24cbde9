"""Tensors that view the memory of arrays."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from vertebra_jax.threads import require_threads


def to_tensor(array: np.ndarray[Any, Any], dtype: str) -> Any:
    """Returns a tensor on JAX's default device.

    On the CPU, the tensor views the array's memory if the array has the dtype, is contiguous and starts at a multiple
    of 64 bytes; JAX copies all other arrays.
    """
    require_threads()
    return jax.device_put(array if array.dtype.name == dtype else array.astype(jax.numpy.dtype(dtype)))


def share(tensor: Any) -> Any:
    """Returns an array that views the memory of another one on the CPU, or None if that is of a GPU or released.

    JAX writes to memory in place only if nothing else views it: a computation to which one of the arrays is donated
    gets other memory.
    """
    require_threads()
    if tensor.is_deleted() or any(device.platform != "cpu" for device in tensor.devices()):
        return None
    return jax.device_put(np.asarray(tensor))


def is_tracing() -> bool:
    """Returns whether JAX is tracing a function in this thread: every computed value is then a tracer."""
    return isinstance(jax.numpy.zeros(()), jax.core.Tracer)
