"""Kernels and biases of adapted layers as matrices and vectors, original and merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from vertebra.errors import LoraStateError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class MergedLayer:
    """A layer's kernel and bias with its adapters merged, in float64."""

    view: Any
    kernel: Array
    """Of shape `(in_features, out_features)`."""
    bias: Array | None
    """Of shape `(out_features,)`; None if the bias does not change."""

    def variables(self) -> list[Any]:
        """Returns the variables that change."""
        return [self.view.variable] if self.bias is None else [self.view.variable, self.view.bias_variable]

    def values(self) -> list[Any]:
        """Returns the values of these variables, in their own shape and dtype."""
        kernel = self.view.kernel_of(self.kernel.astype("float32"))
        return [kernel] if self.bias is None else [kernel, self.view.bias_of(self.bias.astype("float32"))]

    def write(self, view: Any) -> None:
        """Sets kernel and bias of a layer of the same shape."""
        view.replace(self.kernel.astype("float32"))
        if self.bias is not None:
            view.replace_bias(self.bias.astype("float32"))


def matrix_of(view: Any) -> Array:
    """Returns a layer's kernel, of shape `(in_features, out_features)`, in float64."""
    matrix: Array = keras.ops.convert_to_numpy(view.matrix()).astype("float64")
    return matrix


def merged_layer(path: str, adapter_layers: Sequence[tuple[int, Any]], strengths: Any) -> MergedLayer:
    """Returns a layer's kernel and bias with its adapters merged.

    Args:
        path: Path of the layer.
        adapter_layers: The adapter layers of the layer, each with the number of its adapter.
        strengths: Strengths of the adapters, of shape `(adapters,)`, or None for one adapter at strength 1.

    Raises:
        LoraStateError: the bias would change, but several outputs share it.
    """
    view = adapter_layers[0][1].view
    weights = [1.0 if strengths is None else float(strengths[number]) for number, _ in adapter_layers]
    layers = [layer for _, layer in adapter_layers]
    kernel = _sum(matrix_of(view), [layer.strategy.kernel_delta(layer, view) for layer in layers], weights)
    changes = [layer.strategy.bias_delta(layer, view) for layer in layers]
    if all(change is None for change in changes):
        return MergedLayer(view, kernel, None)
    bias = _sum(keras.ops.convert_to_numpy(view.bias()).astype("float64"), changes, weights)
    if bias.size != np.prod(view.bias_variable.shape):
        problem = f"Several outputs of layer {path!r} share its bias, and the adapter changes it for each"
        raise LoraStateError(problem, "Keep the adapter, or save it by itself")
    return MergedLayer(view, kernel, bias)


def _sum(base: Array, changes: Sequence[Any], weights: Sequence[float]) -> Array:
    total = base
    for change, weight in zip(changes, weights, strict=True):
        if change is not None:
            total = total + weight * keras.ops.convert_to_numpy(change).astype("float64")
    return total
