"""Caches of keys and values, with which a decoder computes each token once: their sizes, by the architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

_FEWEST_SLOTS = 64
_FEWEST_TOKENS = 16
_FIRST_TOKENS = 256
"""The most new tokens for which a cache has slots from the start; it grows when more are needed."""
_POSITION_BYTES = 4


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
        gap: The most slots of a sequence that hold padding and not tokens; rings are as much longer.
    """

    layers: tuple[CacheLayer, ...]
    capacity: int
    gap: int = 0

    @classmethod
    def for_prompts(cls, layers: Sequence[CacheLayer], slots: int, gap: int, most_new: int) -> CacheLayout:
        """Returns the sizes with which the answers to prompts begin.

        Sizes are rounded up to a power of two, or one and a half of it, as each may be compiled.

        Args:
            layers: The attention layers.
            slots: Number of slots of the prompts, with padding.
            gap: The most slots of a sequence that hold padding.
            most_new: The most tokens that follow a prompt.
        """
        return cls(tuple(layers), _rounded(slots + min(most_new, _FIRST_TOKENS)), _rounded(gap) if gap else 0)

    def grown(self, slots: int, most: int) -> CacheLayout:
        """Returns the sizes with twice as many slots, but at least `slots`, and no more than are needed for `most`."""
        return replace(self, capacity=_rounded(max(slots, min(most, 2 * self.capacity))))

    @staticmethod
    def prompt_slots(tokens: int, is_compiled: bool) -> int:
        """Returns the number of slots in which prompts are computed.

        Args:
            tokens: The number of tokens of the longest.
            is_compiled: Whether each length is compiled; then it is rounded up, by a quarter at most if it is large.
        """
        if not is_compiled:
            return tokens
        step = max(_FEWEST_TOKENS, 1 << max(tokens.bit_length() - 3, 0))
        return -(-tokens // step) * step

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
        """Returns the size of keys and values, and of their positions, in bytes.

        Args:
            rows: Number of sequences.
            itemsize: Size of a number in bytes, such as 4 for float32.
        """
        tensors = sum(cache_bytes(layer, self.length(layer.window), rows, itemsize) for layer in self.layers)
        return tensors + sum(_POSITION_BYTES * rows * self.length(window) for window in self.windows)


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


def _rounded(slots: int) -> int:
    """Returns a power of two, or one and a half of it, of at least `slots`."""
    power = max(_FEWEST_SLOTS, 1 << (slots - 1).bit_length())
    return power * 3 // 4 if slots <= power * 3 // 4 and power > _FEWEST_SLOTS else power
