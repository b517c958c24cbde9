"""A fingerprint of the weights that an adapter was trained beside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

_SAMPLES = 4096


def fingerprint(views: Mapping[str, Any]) -> str:
    """Returns a SHA-256 over evenly spaced values of each adapted layer's kernel, as 64 hex digits.

    Other base weights differ nearly everywhere, so a sample tells them apart and costs milliseconds. Floats are
    rounded to bfloat16 first: a base that is loaded in another precision is still the same base. A quantised one is
    another.

    Args:
        sites: The sites of the adapted layers, by path.
    """
    import ml_dtypes

    digest = hashlib.sha256()
    for path, view in sorted(views.items()):
        kernel = _view(view.variable)
        sample = np.asarray(kernel.flat[:: max(1, kernel.size // _SAMPLES)])
        digest.update(f"{path} {view.in_features} {view.out_features}\n".encode())
        digest.update((sample if "int" in sample.dtype.name else sample.astype(ml_dtypes.bfloat16)).tobytes())
    return digest.hexdigest()


def _view(variable: Any) -> np.ndarray[Any, Any]:
    """Returns a variable's value, in its own memory where numpy can look at that: Keras may copy all of it."""
    try:
        return np.asarray(keras.ops.stop_gradient(variable.value))
    except (TypeError, RuntimeError):  # on another device, or of a dtype that numpy does not have
        array: np.ndarray[Any, Any] = keras.ops.convert_to_numpy(variable.value)
        return array
