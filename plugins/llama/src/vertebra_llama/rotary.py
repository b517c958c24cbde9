"""Rotary positions of a decoder: of part of a head, and with scaled frequencies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from vertebra import layers
from vertebra_llama import rope_scaling


@keras.saving.register_keras_serializable("vertebra_llama")
class RotaryEmbedding(keras.layers.Layer):
    """Cosines and sines of the angles by which the pairs of a head are rotated at each position (arXiv:2104.09864).

    The input is any tensor of shape `(batch, length, …)`. Both outputs have shape `(1, length, 1, width / 2)`, or with
    a cache `(batch, length, 1, width / 2)`; they are computed in float32.

    The scalings `dynamic` and `longrope` depend on the length of a sequence: its largest position in the call, plus
    one. With a cache, each call has the length that its row has reached, and keys in the cache keep their angles.

    Args:
        width: Number of a head's elements that are rotated, from the first on: an even number.
        max_wavelength: Base of the wavelengths.
        scaling: A scaling that `vertebra_llama.rope_scaling.check` accepts, or None.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(
        self, width: int, max_wavelength: float, scaling: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.width, self.max_wavelength = width, max_wavelength
        self.scaling = None if scaling is None else dict(scaling)

    def call(self, x: Any) -> tuple[Any, Any]:
        positions = layers.positions(x)
        # Computed in each call: a load copies the layers of an earlier one, which holds for plain attributes only.
        found = rope_scaling.frequencies(self.width, self.max_wavelength, self.scaling)
        angles = ops.cast(positions, "float32")[:, :, None, None] * self._frequencies(found, positions)
        cos, sin = (function(angles) * found.factor for function in (ops.cos, ops.sin))
        return ops.cast(cos, self.compute_dtype), ops.cast(sin, self.compute_dtype)

    def _frequencies(self, found: rope_scaling.Frequencies, positions: Any) -> Any:
        """Returns the frequencies at positions, which broadcast to `(rows, length, 1, width / 2)`."""
        usual = ops.convert_to_tensor(found.usual, dtype="float32")
        if found.length is None:
            return usual
        # A sequence without tokens has no largest position.
        lengths = ops.max(ops.pad(positions + 1, [[0, 0], [1, 0]]), axis=1)[:, None, None, None]
        if found.long is not None:
            return ops.where(lengths > found.length, ops.convert_to_tensor(found.long, dtype="float32"), usual)
        factor, width = self.scaling["factor"], self.width
        growth = factor * ops.cast(ops.maximum(lengths, found.length), "float32") / found.length - (factor - 1)
        base = self.max_wavelength * growth ** (width / (width - 2))
        return 1 / base ** ops.convert_to_tensor(rope_scaling.exponents(width), dtype="float32")

    def compute_output_spec(self, x: Any) -> tuple[Any, Any]:
        shape = (1, x.shape[1], 1, self.width // 2)
        return keras.KerasTensor(shape, dtype=self.compute_dtype), keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "width": self.width,
            "max_wavelength": self.max_wavelength,
            "scaling": self.scaling,
        }


def rotate(x: Any, rotation: tuple[Any, Any]) -> Any:
    """Rotates the first elements of each head by the outputs of `RotaryEmbedding`; the others are kept.

    Args:
        x: Floats of shape `(batch, length, heads, head_dim)`.
        rotation: The outputs of `RotaryEmbedding`.

    Returns:
        Floats of the shape of `x`.
    """
    width = 2 * rotation[0].shape[-1]
    if width == x.shape[-1]:
        return layers.rotate(x, rotation)
    return ops.concatenate([layers.rotate(x[..., :width], rotation), x[..., width:]], axis=-1)
