"""Unpadding: layers that treat each token alone compute no padding (Zeng et al. 2022, arXiv:2208.08124).

Between `Unpad` and `Pad`, a batch of sequences of shape `(batch, length, width)` is one sequence of its tokens, of
shape `(1, tokens, width)`, if the call says which positions hold tokens, and unchanged if not. Attention pads queries,
keys and values for itself with `padded`, and removes the padding with `unpadded`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from vertebra._keras import internals


class Tokens(NamedTuple):
    """The positions of a batch of padded sequences that a call computes: arrays or tensors of dtype int32."""

    positions: Any
    """Of each token the position in the flattened batch, of shape `(tokens,)`; the last one may be repeated."""
    numbers: Any
    """Of each position the number of its token, of shape `(batch, length)`; any number if it is padding."""


def tokens_of(padding_mask: np.ndarray[Any, Any], count: int | None = None) -> Tokens:
    """Returns the tokens of a batch of sequences.

    Args:
        padding_mask: 1 for a token and 0 for padding, of shape `(batch, length)`; at least one token.
        count: The number of tokens that are computed, so that fewer shapes are compiled; those beyond the batch's own
            are copies of its last one. None means the batch's own.

    Raises:
        ValueError: the batch has no token, or more than `count`.
    """
    mask = np.asarray(padding_mask) != 0
    positions = np.flatnonzero(mask).astype("int32")
    count = len(positions) if count is None else count
    if not 0 < len(positions) <= count:
        raise ValueError(f"The batch has {len(positions)} tokens, expected from 1 to {count}.")
    numbers = np.maximum(np.cumsum(mask) - 1, 0).astype("int32").reshape(mask.shape)
    return Tokens(np.pad(positions, (0, count - len(positions)), mode="edge"), numbers)


_tokens: ContextVar[Tokens | None] = ContextVar("vertebra_tokens", default=None)
"""The tokens of the call that is computed in this thread, or None if it computes all positions."""


@contextlib.contextmanager
def computing(tokens: Tokens | None) -> Iterator[None]:
    """Computes only the tokens of a batch in calls of a model, between its layers `Unpad` and `Pad`.

    Outputs of padding are zeros then. Adapters for each row are an error, as the layers see no rows.

    Args:
        tokens: The tokens, or None for all positions.
    """
    token = _tokens.set(tokens and Tokens(*map(ops.convert_to_tensor, tokens)))
    try:
        yield
    finally:
        _tokens.reset(token)


def can_unpad(model: Any) -> bool:
    """Returns whether a model, or a model that is a layer of it, has a layer `Unpad`."""
    return any(isinstance(layer, Unpad) for layer in internals.all_layers(model))


def padded(x: Any) -> Any:
    """Returns tokens of shape `(1, tokens, …)` as sequences of shape `(batch, length, …)`, if the call has `Tokens`.

    Padding has the values of some token.
    """
    tokens = _tokens.get()
    return x if tokens is None else ops.take(x[0], tokens.numbers, axis=0)


def unpadded(x: Any) -> Any:
    """Returns sequences of shape `(batch, length, …)` as tokens of shape `(1, tokens, …)`, if the call has `Tokens`."""
    tokens = _tokens.get()
    if tokens is None:
        return x
    shape = ops.shape(x)
    return ops.take(ops.reshape(x, (shape[0] * shape[1], *shape[2:])), tokens.positions, axis=0)[None]


@keras.saving.register_keras_serializable("vertebra")
class Unpad(keras.layers.Layer):  # type: ignore[misc]
    """Removes padding from hidden states of shape `(batch, length, width)`, if the call has `Tokens`."""

    def call(self, x: Any) -> Any:
        """Computes the output."""
        return unpadded(x)

    def compute_output_spec(self, x: Any) -> Any:
        """Returns shape and dtype of the output."""
        return keras.KerasTensor(x.shape, dtype=x.dtype)


@keras.saving.register_keras_serializable("vertebra")
class Pad(keras.layers.Layer):  # type: ignore[misc]
    """Puts padding back, as zeros, which `Unpad` has removed; `padding_mask` is 1 for a token and 0 for padding."""

    def call(self, x: Any, padding_mask: Any) -> Any:
        """Computes the output."""
        if _tokens.get() is None:
            return x
        return padded(x) * ops.cast(padding_mask, x.dtype)[:, :, None]

    def compute_output_spec(self, x: Any, padding_mask: Any) -> Any:
        """Returns shape and dtype of the output."""
        return keras.KerasTensor(x.shape, dtype=x.dtype)
