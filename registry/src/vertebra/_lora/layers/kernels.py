"""Kernels of adapted layers as matrices, original and merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

Array = np.ndarray[Any, Any]


def matrix_of(view: Any) -> Array:
    """Returns a layer's kernel, of shape `(in_features, out_features)`, in float64."""
    matrix: Array = keras.ops.convert_to_numpy(view.matrix()).astype("float64")
    return matrix


def merged_kernel(adapter_layers: Sequence[tuple[int, Any]], strengths: Any) -> Array:
    """Returns a layer's kernel with its adapters merged, of shape `(in_features, out_features)`, in float64.

    Args:
        adapter_layers: The adapter layers of the layer, each with the number of its adapter.
        strengths: Strengths of the adapters, of shape `(adapters,)`, or None for one adapter at strength 1.
    """
    total = matrix_of(adapter_layers[0][1].view)
    for number, layer in adapter_layers:
        delta = keras.ops.convert_to_numpy(layer.strategy.kernel_delta(layer, layer.view)).astype("float64")
        total = total + (1.0 if strengths is None else float(strengths[number])) * delta
    return total
