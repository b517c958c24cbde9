"""`Pooling`: one vector for each sequence of hidden states, in the ways that Sentence Transformers has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from vertebra.errors import ArgumentError

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""The modes, in the order in which older configs concatenate them."""


def checked_modes(modes: str | Sequence[str]) -> tuple[str, ...]:
    """Returns the modes of an argument `pooling_mode`: one mode, or several whose vectors are concatenated.

    Raises:
        ArgumentError: a mode is unknown.
    """
    listed = tuple(modes) if isinstance(modes, list | tuple) else (modes,)
    for mode in listed:
        if mode not in MODES:
            raise ArgumentError("TextEmbedder", "pooling_mode", mode, f"one of {', '.join(MODES)}, or a list of them")
    if not listed:
        raise ArgumentError("TextEmbedder", "pooling_mode", modes, "at least one mode")
    return listed


@keras.saving.register_keras_serializable("vertebra_text")
class Pooling(keras.layers.Layer):
    """Pools hidden states of shape (batch, length, width) to (batch, width times the number of modes).

    Padding does not count. `cls` is the state of the first token and `lasttoken` of the last; `mean_sqrt_len_tokens` is
    the sum over the square root of the number of tokens; `weightedmean` weighs the tokens with 1, 2, 3, … (Muennighoff
    2022, arXiv:2202.08904). Sums are computed in float32. Of the tokens, those of `pooling_mask` count, or all; their
    weights for `weightedmean` are the same in both cases.

    Args:
        modes: One of `MODES`, or several, whose vectors are concatenated in their order.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, modes: str | Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.modes = checked_modes(modes)

    def call(self, states: Any, padding_mask: Any, pooling_mask: Any = None) -> Any:
        tokens = ops.cast(padding_mask, "float32")
        mask = tokens if pooling_mask is None else ops.cast(pooling_mask, "float32")
        pooled = [
            self._weightedmean(states, mask, tokens)
            if mode == "weightedmean"
            else getattr(self, f"_{mode}")(states, mask)
            for mode in self.modes
        ]
        return pooled[0] if len(pooled) == 1 else ops.concatenate(pooled, axis=-1)

    def _cls(self, states: Any, mask: Any) -> Any:
        return _at(states, ops.argmax(mask, axis=1))

    def _lasttoken(self, states: Any, mask: Any) -> Any:
        positions = ops.arange(ops.shape(mask)[1], dtype="float32")
        last = _at(states, ops.argmax(mask * (positions + 1), axis=1))
        return last * ops.cast(ops.max(mask, axis=1, keepdims=True), last.dtype)  # 0 if no token counts

    def _max(self, states: Any, mask: Any) -> Any:
        return ops.max(ops.where(mask[:, :, None] > 0, states, ops.cast(float("-inf"), states.dtype)), axis=1)

    def _mean(self, states: Any, mask: Any) -> Any:
        return self._over(states, mask, ops.sum(mask, axis=1, keepdims=True))

    def _mean_sqrt_len_tokens(self, states: Any, mask: Any) -> Any:
        return self._over(states, mask, ops.sqrt(ops.sum(mask, axis=1, keepdims=True)))

    def _weightedmean(self, states: Any, mask: Any, tokens: Any) -> Any:
        weights = mask * ops.cumsum(tokens, axis=1)
        return self._over(states, weights, ops.sum(weights, axis=1, keepdims=True))

    def _over(self, states: Any, weights: Any, total: Any) -> Any:
        """Returns the weighted sum of the states over a total, which is above 0 even without tokens."""
        summed = ops.einsum("bl,blw->bw", weights, ops.cast(states, "float32"))
        return ops.cast(summed / ops.maximum(total, 1e-9), self.compute_dtype)

    def compute_output_spec(self, states: Any, padding_mask: Any, pooling_mask: Any = None) -> Any:
        return keras.KerasTensor((states.shape[0], states.shape[-1] * len(self.modes)), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"modes": list(self.modes)}


@keras.saving.register_keras_serializable("vertebra_text")
class UnitLength(keras.layers.Layer):
    """Divides each vector by its Euclidean length, which counts as at least 1e-12, as in torch's `normalize`."""

    def call(self, x: Any) -> Any:
        values = ops.cast(x, "float32")
        length = ops.sqrt(ops.sum(ops.square(values), axis=-1, keepdims=True))
        return ops.cast(values / ops.maximum(length, 1e-12), self.compute_dtype)

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)


def _at(states: Any, indices: Any) -> Any:
    """Returns the state of each sequence at an index."""
    chosen = ops.take_along_axis(states, indices[:, None, None], axis=1)
    return ops.squeeze(chosen, axis=1)
