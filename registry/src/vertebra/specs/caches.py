"""Caches of keys and values, with which a decoder computes each token once: their sizes, by the architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheLayer:
    """The keys and values of one attention layer."""

    heads: int
    """Number of heads of keys and of values."""
    width: int
    """Width of a head."""
    window: int | None = None
    """Number of tokens to which a token attends, including itself; None for all tokens before it."""

    def __post_init__(self) -> None:
        for name in ("heads", "width", "window"):
            value = getattr(self, name)
            if not (type(value) is int and value > 0) and not (name == "window" and value is None):
                raise TypeError(f"CacheLayer: {name}={value!r}, expected an int above 0")


@dataclass(frozen=True, slots=True)
class CacheLayout:
    """The sizes of a cache: a slot for each token, or for a layer with a window, a ring of slots that are used again.

    Args:
        layers: The attention layers, in the order in which a model calls them.
        capacity: Number of tokens for which there are slots.
        gap: The most slots in a row that hold padding and not tokens; rings are as much longer.
    """

    layers: tuple[CacheLayer, ...]
    capacity: int
    gap: int = 0

    @property
    def windows(self) -> tuple[int | None, ...]:
        """The windows of the layers, each once, in the order of the layers."""
        return tuple(dict.fromkeys(layer.window for layer in self.layers))

    def length(self, window: int | None) -> int:
        """Returns the number of slots of layers with a window."""
        return self.capacity if window is None else min(window + self.gap, self.capacity)

    def is_ring(self, window: int | None) -> bool:
        """Says whether the slots of layers with a window are used again."""
        return self.length(window) < self.capacity

    def bytes(self, rows: int, itemsize: int) -> int:
        """Returns the size of keys and values in bytes.

        Args:
            rows: Number of sequences.
            itemsize: Size of a number in bytes, such as 4 for float32.
        """
        return sum(cache_bytes(layer, self.length(layer.window), rows, itemsize) for layer in self.layers)


def cache_bytes(layer: CacheLayer, length: int, rows: int, itemsize: int) -> int:
    """Returns the size in bytes of one layer's keys and values with `length` slots for each of `rows` sequences."""
    return 2 * rows * layer.heads * layer.width * length * itemsize


def checked_layers(layers: Sequence[CacheLayer], source: str) -> tuple[CacheLayer, ...]:
    """Returns what the function of an architecture's `cache` returned, if it is a sequence of `CacheLayer`.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(layers, list | tuple) or not all(isinstance(layer, CacheLayer) for layer in layers):
        raise TypeError(f"{source} returned {layers!r}, expected a sequence of vertebra.CacheLayer")
    return tuple(layers)
