"""Rotary position embeddings (Su et al. 2021, arXiv:2104.09864)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vertebra.layers.caches import positions


@keras.saving.register_keras_serializable("vertebra")
class RotaryEmbedding(keras.layers.Layer):  # type: ignore[misc]
    """Cosines and sines of the angles by which the pairs of a head are rotated at each position (arXiv:2104.09864).

    The input is any tensor of shape `(batch, length, …)`. Both outputs have shape `(1, length, 1, head_dim / 2)`, or
    with a cache `(batch, length, 1, head_dim / 2)`; they are computed in float32.

    Args:
        head_dim: Width of a head: an even number.
        max_wavelength: Base of the wavelengths.
        scaling_factor: Positions are divided by it (arXiv:2306.15595).
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, head_dim: int, max_wavelength: float, scaling_factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.head_dim, self.max_wavelength, self.scaling_factor = head_dim, max_wavelength, scaling_factor

    def call(self, x: Any) -> tuple[Any, Any]:
        """Computes the cosines and the sines."""
        exponents = ops.arange(0, self.head_dim, 2, dtype="float32") / self.head_dim
        frequencies = 1 / (self.scaling_factor * self.max_wavelength**exponents)
        angles = ops.cast(positions(x), "float32")[:, :, None, None] * frequencies
        return ops.cast(ops.cos(angles), self.compute_dtype), ops.cast(ops.sin(angles), self.compute_dtype)

    def compute_output_spec(self, x: Any) -> tuple[Any, Any]:
        """Returns shape and dtype of the outputs."""
        shape = (1, x.shape[1], 1, self.head_dim // 2)
        return keras.KerasTensor(shape, dtype=self.compute_dtype), keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config: dict[str, Any] = super().get_config()
        return config | {
            "head_dim": self.head_dim,
            "max_wavelength": self.max_wavelength,
            "scaling_factor": self.scaling_factor,
        }


def rotate(x: Any, rotation: tuple[Any, Any]) -> Any:
    """Rotates the pairs of each head; the first halves of all pairs come before the second halves.

    Args:
        x: Floats of shape `(batch, length, heads, head_dim)`.
        rotation: The outputs of `RotaryEmbedding`.

    Returns:
        Floats of the shape of `x`.
    """
    cos, sin = rotation
    first, second = ops.split(x, 2, axis=-1)
    return ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
