"""`Projection`: a dense layer after pooling, as Sentence Transformers' `Dense`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

import keras
from keras import ops

from vertebra import activations
from vertebra.errors import ArgumentError

_OF_KERAS = (
    *("celu", "elu", "hard_shrink", "hard_sigmoid", "hard_tanh", "log_sigmoid", "log_softmax", "selu"),
    *("soft_shrink", "softmax", "softplus", "softsign", "tanh_shrink"),
)
ACTIVATIONS = (*activations.NAMES, *_OF_KERAS, "softmin")
"""The names of activations: those of `vertebra.activations`, functions of Keras, and the softmax of -x."""
_FIELDS = {"units", "activation", "use_bias", "use_residual"}


def activation(name: str) -> Callable[[Any], Any]:
    """Returns a function from a float tensor to a tensor of the same shape.

    Args:
        name: One of `ACTIVATIONS`.
    """
    if name == "softmin":
        return lambda x: ops.softmax(-x)
    return getattr(keras.activations, name) if name in _OF_KERAS else activations.activation(name)


class Projection:
    """A dense layer: `activation(x · kernel + bias)`, and optionally x added to that.

    Args:
        spec: A dict with `units`, the width of the outputs; `activation`, one of `ACTIVATIONS` or None;
            `use_bias`, by default True; and `use_residual`, by default False: whether the inputs are added to the
            outputs, through a matrix if their widths differ.
        name: The name of the layer.
        width: The width of the inputs.
        dtype: The dtype policy.

    Raises:
        ArgumentError: the dict has another key, or no `units`; or a value is out of range.
    """

    def __init__(self, spec: Mapping[str, Any], name: str, width: int, dtype: Any) -> None:
        if spec.keys() - _FIELDS or "units" not in spec:
            raise ArgumentError("TextEmbedder", "dense", dict(spec), f"dicts with {', '.join(sorted(_FIELDS))}")
        units = spec["units"]
        if isinstance(units, bool) or not isinstance(units, Integral) or units < 1:
            raise ArgumentError("TextEmbedder", "dense", dict(spec), "units that are an int above 0")
        for flag in ("use_bias", "use_residual"):
            if not isinstance(spec.get(flag, False), bool):
                raise ArgumentError("TextEmbedder", "dense", dict(spec), f"{flag} that is True or False")
        chosen = spec.get("activation")
        if chosen is not None and chosen not in ACTIVATIONS:
            raise ArgumentError("TextEmbedder", "activation", chosen, f"None, or one of {', '.join(ACTIVATIONS)}")
        self.units = int(units)
        self._is_residual = bool(spec.get("use_residual"))
        self._dense = keras.layers.Dense(
            self.units, chosen and activation(chosen), use_bias=spec.get("use_bias", True), dtype=dtype, name=name
        )
        self._shortcut = None
        if self._is_residual and width != self.units:
            self._shortcut = keras.layers.Dense(self.units, use_bias=False, dtype=dtype, name=f"{name}_residual")

    def __call__(self, x: Any) -> Any:
        """Returns the outputs of shape (batch, units) for inputs of shape (batch, width)."""
        outputs = self._dense(x)
        if not self._is_residual:
            return outputs
        return outputs + (x if self._shortcut is None else self._shortcut(x))

    def weights(self) -> dict[str, Any]:
        """Returns the variables by name: layer, `/` and variable."""
        layers = [self._dense] if self._shortcut is None else [self._dense, self._shortcut]
        return {f"{layer.name}/{weight.name}": weight for layer in layers for weight in layer.weights}
