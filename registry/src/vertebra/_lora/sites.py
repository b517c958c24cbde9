"""Sites: each kind of layer that can be adapted, seen as one linear map on a two-dimensional kernel."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from vertebra.interfaces import LoraSite


class DenseSite(LoraSite):
    """A `Dense` layer."""

    def __init__(self, layer: Any) -> None:
        self.kernel = layer.kernel
        self.in_features, self.out_features = layer.kernel.shape

    def down(self, inputs: Any, matrix: Any) -> Any:
        return ops.matmul(inputs, matrix)

    def up(self, hidden: Any, matrix: Any) -> Any:
        return ops.matmul(hidden, matrix)


class EinsumDenseSite(LoraSite):
    """An `EinsumDense` layer whose kernel has axes that are summed over and axes that are produced, and no others."""

    def __init__(self, layer: Any) -> None:
        self.kernel = layer.kernel
        operands, output = layer.equation.replace(" ", "").split("->")
        inputs, kernel = operands.split(",")
        summed = [axis for axis in kernel if axis in inputs and axis not in output]
        produced = [axis for axis in kernel if axis in output and axis not in inputs]
        if len(summed) + len(produced) != len(kernel):
            raise ValueError(f"the equation {layer.equation!r} has a kernel axis that inputs and outputs share")
        sizes = dict(zip(kernel, self.kernel.shape, strict=True))
        self._summed_shape = tuple(sizes[axis] for axis in summed)
        self._produced_shape = tuple(sizes[axis] for axis in produced)
        self.in_features = math.prod(self._summed_shape)
        self.out_features = math.prod(self._produced_shape)
        rank = next(letter for letter in "rqponmz" if letter not in layer.equation)
        kept = "".join(axis for axis in inputs if axis not in summed)
        self._down = f"{inputs},{''.join(summed)}{rank}->{kept}{rank}"
        self._up = f"{kept}{rank},{rank}{''.join(produced)}->{output}"

    def down(self, inputs: Any, matrix: Any) -> Any:
        return ops.einsum(self._down, inputs, ops.reshape(matrix, (*self._summed_shape, -1)))

    def up(self, hidden: Any, matrix: Any) -> Any:
        return ops.einsum(self._up, hidden, ops.reshape(matrix, (-1, *self._produced_shape)))


class EmbeddingSite(LoraSite):
    """An `Embedding` layer: the low-rank path looks up rows, too."""

    is_lookup = True

    def __init__(self, layer: Any) -> None:
        self.kernel = layer.embeddings
        self.in_features, self.out_features = layer.embeddings.shape

    def down(self, inputs: Any, matrix: Any) -> Any:
        return ops.take(matrix, ops.cast(inputs, "int32"), axis=0)

    def up(self, hidden: Any, matrix: Any) -> Any:
        return ops.matmul(hidden, matrix)


SITES: dict[type, type[Any]] = {
    keras.layers.Dense: DenseSite,
    keras.layers.EinsumDense: EinsumDenseSite,
    keras.layers.Embedding: EmbeddingSite,
}


def is_adaptable(layer: Any) -> bool:
    """Says whether adapters can be attached to a layer."""
    kinds: Any = tuple(SITES)
    return bool(isinstance(layer, kinds) and layer.built and layer.quantization_mode is None)


def site_of(layer: Any) -> Any:
    """Returns the site of an adaptable layer.

    Raises:
        ValueError: the layer's equation cannot be seen as one linear map.
    """
    return next(site for kind, site in SITES.items() if isinstance(layer, kind))(layer)
