"""Linear views: each kind of adaptable layer, seen as one linear map with a two-dimensional kernel."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from vertebra._lora.layers.view import View

_QUANTIZED = ("int8", "int4")
"""Quantisation modes whose layers can be adapted."""


class DenseView(View):
    """A `Dense` layer."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.in_features, self.out_features = layer.kernel.shape

    takes_rows = True

    def down(self, inputs: Any, matrix: Any) -> Any:
        return _rows_times(inputs, matrix)

    def up(self, hidden: Any, matrix: Any) -> Any:
        return _rows_times(hidden, matrix)

    def down_rows(self, inputs: Any, matrices: Any) -> Any:
        """Applies matrices of shape `(rows, in_features, rank)`, one to each row of the inputs."""
        return _each_times(inputs, matrices)

    def up_rows(self, hidden: Any, matrices: Any) -> Any:
        """Applies matrices of shape `(rows, rank, out_features)`, one to each row."""
        return _each_times(hidden, matrices)


class EinsumDenseView(View):
    """An `EinsumDense` layer whose kernel axes are each either summed over or produced."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        operands, self._output = layer.equation.replace(" ", "").split("->")
        self._inputs, self._kernel = operands.split(",")
        self._summed = "".join(axis for axis in self._kernel if axis in self._inputs and axis not in self._output)
        self._produced = "".join(axis for axis in self._kernel if axis in self._output and axis not in self._inputs)
        if len(self._summed) + len(self._produced) != len(self._kernel):
            raise ValueError(f"the equation {layer.equation!r} has a kernel axis that inputs and outputs share")
        shape = layer.original_kernel_shape if layer.quantization_mode == "int4" else self.variable.shape
        sizes = dict(zip(self._kernel, shape, strict=True))
        self._summed_shape = tuple(sizes[axis] for axis in self._summed)
        self._produced_shape = tuple(sizes[axis] for axis in self._produced)
        self.in_features = math.prod(self._summed_shape)
        self.out_features = math.prod(self._produced_shape)
        self._bias_axes = "".join(axis for axis in self._output if axis in self._produced)
        self._bias_shape = tuple(sizes[axis] for axis in self._bias_axes)
        rank = _unused(layer.equation)
        kept = "".join(axis for axis in self._inputs if axis not in self._summed)
        self._down = f"{self._inputs},{self._summed}{rank}->{kept}{rank}"
        self._up = f"{kept}{rank},{rank}{self._produced}->{self._output}"
        batch = self._inputs[0]
        self.takes_rows = batch.isalpha() and batch in kept and self._output[0] == batch
        self._down_rows = f"{self._inputs},{batch}{self._summed}{rank}->{kept}{rank}"
        self._up_rows = f"{kept}{rank},{batch}{rank}{self._produced}->{self._output}"

    @property
    def heads(self) -> int:
        return math.prod(self._produced_shape[:-1])

    def down(self, inputs: Any, matrix: Any) -> Any:
        return ops.einsum(self._down, inputs, ops.reshape(matrix, (*self._summed_shape, -1)))

    def up(self, hidden: Any, matrix: Any) -> Any:
        return ops.einsum(self._up, hidden, ops.reshape(matrix, (-1, *self._produced_shape)))

    def down_rows(self, inputs: Any, matrices: Any) -> Any:
        """Applies matrices of shape `(rows, in_features, rank)`, one to each row of the inputs."""
        shaped = ops.reshape(matrices, (matrices.shape[0], *self._summed_shape, matrices.shape[2]))
        return ops.einsum(self._down_rows, inputs, shaped)

    def up_rows(self, hidden: Any, matrices: Any) -> Any:
        """Applies matrices of shape `(rows, rank, out_features)`, one to each row."""
        return ops.einsum(self._up_rows, hidden, ops.reshape(matrices, (*matrices.shape[:2], *self._produced_shape)))

    def apply(self, inputs: Any, matrix: Any) -> Any:
        shaped = ops.reshape(matrix, (*self._summed_shape, *self._produced_shape))
        return ops.einsum(f"{self._inputs},{self._summed}{self._produced}->{self._output}", inputs, shaped)

    def multiply(self, outputs: Any, vector: Any) -> Any:
        shaped = ops.reshape(vector, self._produced_shape)
        return ops.einsum(f"{self._output},{self._produced}->{self._output}", outputs, shaped)

    def _flatten_bias(self, bias: Any) -> Any:
        shared = bias.shape != self._bias_shape
        bias = ops.broadcast_to(bias, self._bias_shape) if shared else bias
        return ops.reshape(ops.transpose(bias, [self._bias_axes.index(axis) for axis in self._produced]), (-1,))

    def _unflatten_bias(self, vector: Any) -> Any:
        shaped = ops.reshape(vector, self._produced_shape)
        return ops.transpose(shaped, [self._produced.index(axis) for axis in self._bias_axes])

    def _flatten(self, kernel: Any) -> Any:
        order = [self._kernel.index(axis) for axis in self._summed + self._produced]
        return super()._flatten(ops.transpose(kernel, order))

    def _unflatten(self, matrix: Any) -> Any:
        axes = self._summed + self._produced
        shaped = ops.reshape(matrix, (*self._summed_shape, *self._produced_shape))
        return ops.transpose(shaped, [axes.index(axis) for axis in self._kernel])

    def _probe(self, call: Any) -> Any:
        """Arranges the unit vectors along the first kept axis; the other kept axes have size 1."""
        kept = [axis for axis in self._inputs if axis not in self._summed]
        sizes = dict(zip(self._summed, self._summed_shape, strict=True)) | dict.fromkeys(kept, 1)
        basis = ops.reshape(
            ops.eye(self.in_features, dtype=self.layer.compute_dtype), (self.in_features, *self._summed_shape)
        )
        axes = [kept[0], *self._summed]
        basis = ops.transpose(basis, [axes.index(axis) for axis in self._inputs if axis in axes])
        shape = [self.in_features if axis == kept[0] else sizes[axis] for axis in self._inputs]
        outputs = call(self.layer, ops.reshape(basis, shape))
        return super()._flatten(ops.einsum(f"{self._output}->{kept[0]}{''.join(kept[1:])}{self._produced}", outputs))


class EmbeddingView(View):
    """An `Embedding` layer, whose low-rank path also looks up rows."""

    is_lookup = True

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.in_features, self.out_features = layer.input_dim, layer.output_dim

    def indices(self, inputs: Any) -> Any:
        return ops.cast(inputs, "int32")

    def down(self, inputs: Any, matrix: Any) -> Any:
        return ops.take(matrix, self.indices(inputs), axis=0)

    def up(self, hidden: Any, matrix: Any) -> Any:
        return ops.matmul(hidden, matrix)

    def _probe(self, call: Any) -> Any:
        return call(self.layer, ops.arange(self.in_features, dtype="int32"))


class LookupView(View):
    """A layer of another kind that looks up rows of its table `embeddings`, such as those of positions.

    The layer's method `lookup_indices` returns the row numbers for its inputs, with a batch axis.
    """

    is_lookup = True

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.in_features, self.out_features = layer.embeddings.shape

    @property
    def variable(self) -> Any:
        return self.layer.embeddings

    def indices(self, inputs: Any) -> Any:
        return ops.cast(self.layer.lookup_indices(inputs), "int32")

    def down(self, inputs: Any, matrix: Any) -> Any:
        return ops.take(matrix, self.indices(inputs), axis=0)

    def up(self, hidden: Any, matrix: Any) -> Any:
        return ops.matmul(hidden, matrix)


class ConvView(View):
    """A convolution, whose low-rank path is one of the same size with `rank` filters, then one of size 1."""

    is_convolution = True

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        if layer.groups != 1:
            raise ValueError(
                f"it is a convolution in {layer.groups} groups, and only those in a single group can be adapted"
            )
        self._patch = tuple(self.variable.shape[:-1])
        self.in_features, self.out_features = math.prod(self._patch), layer.filters

    def down(self, inputs: Any, matrix: Any) -> Any:
        layer, padding = self.layer, self.layer.padding
        if padding == "causal":
            inputs, padding = ops.pad(inputs, self._causal_padding()), "valid"
        return ops.conv(
            inputs,
            ops.reshape(matrix, (*self._patch, -1)),
            strides=layer.strides,
            padding=padding,
            dilation_rate=layer.dilation_rate,
            data_format=layer.data_format,
        )

    def up(self, hidden: Any, matrix: Any) -> Any:
        pointwise = ops.reshape(matrix, (*(1,) * self.layer.rank, -1, self.out_features))
        return ops.conv(hidden, pointwise, data_format=self.layer.data_format)

    def without_bias(self, outputs: Any) -> Any:
        return outputs if self.layer.bias is None else outputs - self._spread(self.layer.bias)

    def multiply(self, outputs: Any, vector: Any) -> Any:
        return outputs * self._spread(vector)

    def _causal_padding(self) -> list[list[int]]:
        """Returns the padding before and after each axis, so that no output depends on a later input."""
        before = [self.layer.dilation_rate[0] * (self.layer.kernel_size[0] - 1), 0]
        return [[0, 0], before, [0, 0]] if self.layer.data_format == "channels_last" else [[0, 0], [0, 0], before]

    def _spread(self, vector: Any) -> Any:
        last = self.layer.data_format == "channels_last"
        return ops.reshape(vector, (-1,) if last else (-1, *(1,) * self.layer.rank))


VIEWS: dict[type, type[Any]] = {
    keras.layers.Dense: DenseView,
    keras.layers.EinsumDense: EinsumDenseView,
    keras.layers.Embedding: EmbeddingView,
    keras.layers.Conv1D: ConvView,
    keras.layers.Conv2D: ConvView,
    keras.layers.Conv3D: ConvView,
}


def is_adaptable(layer: Any) -> bool:
    """Returns whether adapters can be attached to a layer."""
    if _kind(layer) is None or not layer.built:
        return False
    return getattr(layer, "quantization_mode", None) in (None, *_QUANTIZED)


def view_of(layer: Any) -> Any:
    """Returns the linear view of an adaptable layer.

    Raises:
        ValueError: the layer cannot be seen as one linear map.
    """
    kind = _kind(layer)
    assert kind is not None, "callers ask is_adaptable first"
    return kind(layer)


def _kind(layer: Any) -> type[Any] | None:
    """Returns the class of a layer's linear view, or None if it has none."""
    if callable(getattr(layer, "lookup_indices", None)) and hasattr(layer, "embeddings"):
        return LookupView
    return next((view for kind, view in VIEWS.items() if isinstance(layer, kind)), None)


def _rows_times(x: Any, matrix: Any) -> Any:
    """Returns `x @ matrix`, with `x` in two dimensions: else JAX transposes whole activations for gradients."""
    rows = ops.matmul(ops.reshape(x, (-1, matrix.shape[0])), matrix)
    return ops.reshape(rows, (*ops.shape(x)[:-1], matrix.shape[1]))


def _each_times(x: Any, matrices: Any) -> Any:
    """Returns `x[row] @ matrices[row]` for each row."""
    shape = ops.shape(x)
    rows = ops.matmul(ops.reshape(x, (shape[0], -1, matrices.shape[1])), matrices)
    return ops.reshape(rows, (*shape[:-1], matrices.shape[2]))


def _unused(equation: str) -> str:
    return next(letter for letter in "rqponmz" if letter not in equation)
