"""Fingerprint of the base weights that an adapter was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

_SAMPLES = 4096


def fingerprint(views: Mapping[str, Any]) -> str:
    """Returns a SHA-256 over evenly spaced values of each adapted layer's kernel, as 64 hex digits.

    Different base weights differ nearly everywhere, so a sample distinguishes them and costs milliseconds. Floats are
    rounded to bfloat16 first: the same base loaded in float32 or bfloat16 has the same fingerprint. A quantised base
    has another one.

    Args:
        views: The linear views of the adapted layers, by path.
    """
    import ml_dtypes

    digest = hashlib.sha256()
    for path, view in sorted(views.items()):
        kernel = _numpy_view(view.variable)
        sample = np.asarray(kernel.flat[:: max(1, kernel.size // _SAMPLES)])
        digest.update(f"{path} {view.in_features} {view.out_features}\n".encode())
        digest.update((sample if "int" in sample.dtype.name else sample.astype(ml_dtypes.bfloat16)).tobytes())
    return digest.hexdigest()


def _numpy_view(variable: Any) -> np.ndarray[Any, Any]:
    """Returns a variable's value as an array, sharing memory where numpy can; Keras may copy the whole tensor."""
    try:
        return np.asarray(keras.ops.stop_gradient(variable.value))
    except (TypeError, RuntimeError):  # on another device, or a dtype that numpy lacks
        array: np.ndarray[Any, Any] = keras.ops.convert_to_numpy(variable.value)
        return array
