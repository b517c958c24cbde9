"""`View`: the base class of linear views."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from keras import ops

from vertebra._discovery import runtimes
from vertebra._keras.internals import autocast, kernel_variable
from vertebra.strategies import LinearView


class View(LinearView):
    """The base class of all linear views."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    @property
    def variable(self) -> Any:
        """The variable that holds the kernel, quantised or not."""
        return kernel_variable(self.layer)

    @property
    def is_quantized(self) -> bool:
        """Whether the kernel is stored as integers."""
        return getattr(self.layer, "quantization_mode", None) is not None

    @property
    def heads(self) -> int:
        """Number of heads in the outputs, as far as the layer itself tells."""
        return 1

    def without_bias(self, outputs: Any) -> Any:
        bias = getattr(self.layer, "bias", None)
        return outputs if bias is None else outputs - ops.cast(bias, outputs.dtype)

    takes_rows = False
    """Whether each row of a batch may have matrices of its own, as `down_rows` and `up_rows` apply them."""

    def multiply(self, outputs: Any, vector: Any) -> Any:
        return outputs * vector

    def apply(self, inputs: Any, matrix: Any) -> Any:
        return self.down(inputs, matrix)

    @property
    def bias_variable(self) -> Any:
        """The variable that holds the bias, or None."""
        return getattr(self.layer, "bias", None)

    def bias(self) -> Any:
        bias = self.bias_variable
        if bias is None:
            return None
        with autocast(None):
            return ops.cast(self._flatten_bias(bias.value), "float32")

    def bias_of(self, vector: Any) -> Any:
        """Returns the bias's value, in its own shape and dtype, for a vector of shape `(out_features,)`."""
        return ops.cast(self._unflatten_bias(vector), self.bias_variable.dtype)

    def replace_bias(self, vector: Any) -> None:
        """Sets the bias's values from an array or tensor of shape `(out_features,)`."""
        runtimes.bind().assign(self.bias_variable, self.bias_of(vector))

    def _flatten_bias(self, bias: Any) -> Any:
        return bias

    def _unflatten_bias(self, vector: Any) -> Any:
        return vector

    def matrix(self) -> Any:
        if self.layer.quantization_mode is None:
            with autocast(None):  # the stored kernel, even within a call in half precision
                return ops.cast(self._flatten(self.variable.value), "float32")
        with _kernel_only(self.layer):  # the images of the unit vectors are the rows of the kernel
            return ops.cast(self._probe(type(self.layer).quantized_call), "float32")

    def kernel_of(self, matrix: Any) -> Any:
        """Returns the kernel's value, in its own shape and dtype, for a matrix `(in_features, out_features)`."""
        return ops.cast(self._unflatten(matrix), self.variable.dtype)

    def replace(self, matrix: Any) -> None:
        """Sets the kernel's values from an array or tensor of shape `(in_features, out_features)`."""
        runtimes.bind().assign(self.variable, self.kernel_of(matrix))

    def _flatten(self, kernel: Any) -> Any:
        return ops.reshape(kernel, (self.in_features, self.out_features))

    def _unflatten(self, matrix: Any) -> Any:
        return ops.reshape(matrix, self.variable.shape)

    def _probe(self, call: Any) -> Any:
        return call(self.layer, ops.eye(self.in_features, dtype=self.layer.compute_dtype))


@contextlib.contextmanager
def _kernel_only(layer: Any) -> Iterator[None]:
    """Disables a layer's activation, bias and input quantisation within the block."""
    names = [name for name in ("activation", "bias", "inputs_quantizer") if getattr(layer, name, None) is not None]
    kept = {name: getattr(layer, name) for name in names}
    try:
        for name in names:
            setattr(layer, name, None)
        yield
    finally:
        for name, value in kept.items():
            setattr(layer, name, value)
