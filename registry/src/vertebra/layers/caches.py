"""Decoding: layers that compute the new tokens of sequences only, and take the keys and values of others from a cache.

Slots of the cache are the same for all rows of a batch. A row's padding has slots, too, with the position -1; a token
attends to the slots whose positions are not after its own, wherever they are. So rows may begin, and continue, at
different positions. The slots of a layer with a window are a ring.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import keras
from keras import ops

from vertebra._discovery import runtimes
from vertebra.layers.packing import text_numbers
from vertebra.specs.caches import CacheLayout

PADDING = -1
"""The position of padding."""


class Cache(NamedTuple):
    """The keys and values of the tokens of a batch so far: tensors."""

    keys: tuple[Any, ...]
    """Those of each attention layer, of shape `(batch, heads, slots, width)`."""
    values: tuple[Any, ...]
    """Those of each attention layer, of the same shape."""
    positions: tuple[Any, ...]
    """The position of the token in each slot, int32, shape `(batch, slots)`, for each window of the layers."""


def empty_cache(layout: CacheLayout, rows: int, dtype: str) -> Cache:
    """Returns a cache without tokens.

    Args:
        layout: Its sizes.
        rows: Number of sequences.
        dtype: The dtype of keys and values.
    """
    shapes = [(rows, layer.heads, layout.length(layer.window), layer.width) for layer in layout.layers]
    keys, values = (tuple(ops.zeros(shape, dtype) for shape in shapes) for _ in range(2))
    positions = (ops.full((rows, layout.length(window)), PADDING, "int32") for window in layout.windows)
    return Cache(keys, values, tuple(positions))


def grown_cache(cache: Cache, before: CacheLayout, after: CacheLayout) -> Cache:
    """Returns a cache with slots for more tokens, in which no ring has been used again yet."""

    def grown(tensor: Any, window: int | None, axis: int, value: int) -> Any:
        more = after.length(window) - before.length(window)
        widths = [(0, more if number == axis else 0) for number in range(len(tensor.shape))]
        return ops.pad(tensor, widths, constant_values=value) if more else tensor

    windows = [layer.window for layer in before.layers]
    keys, values = (
        tuple(grown(tensor, window, 2, 0) for tensor, window in zip(tensors, windows, strict=True))
        for tensors in (cache.keys, cache.values)
    )
    positions = zip(cache.positions, before.windows, strict=True)
    return Cache(keys, values, tuple(grown(tensor, window, 1, PADDING) for tensor, window in positions))


class Decoding:
    """One call of a model on new tokens of sequences.

    Args:
        cache: The cache before the call; the call may write to its tensors, so use `result` after it.
        layout: The sizes of the cache.
        positions: The positions of the new tokens, int32, shape `(batch, length)`; -1 is padding.
        slot: The first slot of the new tokens: an int32 tensor without axes.
        is_first: Whether the cache has no tokens yet.
    """

    def __init__(self, cache: Cache, layout: CacheLayout, positions: Any, slot: Any, *, is_first: bool) -> None:
        self._layout, self._slot, self._is_first = layout, slot, is_first
        self.positions = positions
        self._keys, self._values = list(cache.keys), list(cache.values)
        self._positions, self._key_positions = {}, {}
        for window, before in zip(layout.windows, cache.positions, strict=True):
            after, seen = self._stored(before[:, None, :, None], positions[:, None, :, None], window)
            self._positions[window], self._key_positions[window] = after[:, 0, :, 0], seen[:, 0, :, 0]
        self._layer = 0

    @property
    def result(self) -> Cache:
        """The cache after the call."""
        return Cache(tuple(self._keys), tuple(self._values), tuple(self._positions.values()))

    def mask(self, window: int | None) -> Any:
        """Returns to which tokens each token attends, bool, shape `(batch, 1, length, tokens)`.

        Padding attends to padding: otherwise, its softmax would be 0 / 0.
        """
        queries, keys = self.positions[:, None, :, None], self._key_positions[window][:, None, None, :]
        is_before = ops.logical_and(keys <= queries, ops.logical_or(keys >= 0, queries < 0))
        return is_before if window is None else ops.logical_and(is_before, queries - keys < window)

    def store(self, key: Any, value: Any) -> tuple[Any, Any]:
        """Stores the keys and values of the next attention layer; returns those to which the new tokens attend.

        All have shape `(batch, tokens, heads, width)`.
        """
        number, self._layer = self._layer, self._layer + 1
        window = self._layout.layers[number].window
        seen = []
        for stored, new in ((self._keys, key), (self._values, value)):
            new = ops.cast(ops.transpose(new, (0, 2, 1, 3)), stored[number].dtype)
            stored[number], tokens = self._stored(stored[number], new, window)
            seen.append(ops.transpose(tokens, (0, 2, 1, 3)))
        return seen[0], seen[1]

    def _stored(self, before: Any, new: Any, window: int | None) -> tuple[Any, Any]:
        """Returns slots with new tokens in them, and the tokens that the new ones see.

        All have shape `(batch, heads, tokens, width)`.
        """
        write, length, count = runtimes.bind().write_slots, self._layout.length(window), new.shape[2]
        if self._is_first and not (self._layout.is_ring(window) and count > length):
            return write(before, ops.zeros((), "int32"), new), new
        if not self._layout.is_ring(window):
            after = write(before, self._slot, new)
            return after, after
        if count == 1:
            after = write(before, self._slot % length, new)
            return after, after
        return self._ring(before, new), new if self._is_first else ops.concatenate([before, new], axis=2)

    def _ring(self, before: Any, new: Any) -> Any:
        """Returns a ring in which new tokens are written over the oldest ones."""
        length, count = ops.shape(before)[2], ops.shape(new)[2]
        rows = ops.arange(length, dtype="int32")
        last = self._slot + count - 1
        slots = last - (last - rows) % length  # the last slot of those that share a row of the ring
        sources = ops.where(slots >= self._slot, length + slots - self._slot, rows)
        return ops.take(ops.concatenate([before, new], axis=2), sources, axis=2)


_decoding: ContextVar[Decoding | None] = ContextVar("vertebra_decoding", default=None)
"""The call that is computed in this thread, or None for a call without a cache."""


@contextlib.contextmanager
def decoding(call: Decoding) -> Iterator[None]:
    """Computes only new tokens in calls of a decoder within the block, whose layers use `cached` and `CausalMask`."""
    token = _decoding.set(call)
    try:
        yield
    finally:
        _decoding.reset(token)


def cached(key: Any, value: Any) -> tuple[Any, Any]:
    """Returns the keys and values of all tokens to which the tokens of a call may attend.

    Without a cache, those are its arguments. An attention layer calls it after rotation, and before heads are repeated.

    Args:
        key: Floats of shape `(batch, length, heads, width)`.
        value: Floats of the same shape.

    Returns:
        Floats of shape `(batch, tokens, heads, width)`, twice.
    """
    call = _decoding.get()
    return (key, value) if call is None else call.store(key, value)


def positions(x: Any) -> Any:
    """Returns the positions of the tokens of a call: int32, shape `(1, length)`, or `(batch, length)` with a cache, or
    for rows with several texts, in each of which positions begin at 0.

    Padding has the position 0 with a cache; without one, it has positions like tokens.

    Args:
        x: Any tensor of the call, of shape `(batch, length, …)`.
    """
    call = _decoding.get()
    if call is not None:
        return ops.maximum(call.positions, 0)
    numbers, slots = text_numbers(), ops.arange(ops.shape(x)[1], dtype="int32")[None]
    if numbers is None:
        return slots
    first = ops.argmax(ops.cast(_same_text(numbers), "int32"), axis=-1)  # the first slot with the same text
    return slots - ops.cast(first, "int32")


def _same_text(numbers: Any) -> Any:
    """Returns whether two tokens of a row are of one text, bool, shape `(batch, length, length)`."""
    return numbers[:, :, None] == numbers[:, None, :]


def is_decoding() -> bool:
    """Returns whether the call that is computed in this thread has a cache."""
    return _decoding.get() is not None


@keras.saving.register_keras_serializable("vertebra")
class CausalMask(keras.layers.Layer):  # type: ignore[misc]
    """Computes the tokens to which each token attends: itself, and those before it, within a window if there is one.

    In rows with several texts (`vertebra.layers.packed`), a token attends to tokens of its own text only.

    The input is a padding mask of shape `(batch, length)`, 1 for a token and 0 for padding, which may be on either
    side. The output is bools of shape `(batch, 1, length, length)`, or with a cache `(batch, 1, length, tokens)`.
    Padding attends to itself, too: otherwise, its softmax and the gradients would be 0 / 0.

    Args:
        window: Number of tokens to which a token attends, including itself; None for all.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, window: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = window

    def call(self, padding_mask: Any) -> Any:
        """Computes the mask."""
        call = _decoding.get()
        if call is not None:
            return call.mask(self.window)
        numbers = ops.arange(ops.shape(padding_mask)[1], dtype="int32")
        distance = numbers[:, None] - numbers[None, :]
        near = distance >= 0
        if self.window is not None:
            near = ops.logical_and(near, distance < self.window)
        if (numbers := text_numbers()) is not None:
            near = ops.logical_and(near, _same_text(numbers)[:, None])
        tokens = ops.cast(padding_mask, "bool")[:, None, None, :]
        return ops.logical_and(near, ops.logical_or(tokens, distance == 0))

    def compute_output_spec(self, padding_mask: Any) -> Any:
        """Returns shape and dtype of the output."""
        batch, length = padding_mask.shape
        return keras.KerasTensor((batch, 1, length, length), dtype="bool")

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config: dict[str, Any] = super().get_config()
        return config | {"window": self.window}
