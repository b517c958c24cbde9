"""Sizes of caches and prompts: few different ones, as each may be compiled."""

from __future__ import annotations

_FEWEST_SLOTS = 64
_FEWEST_TOKENS = 16


def capacity_for(slots: int) -> int:
    """Returns the number of slots of a cache for at least `slots` tokens: a power of two, or one and a half of it."""
    power = max(_FEWEST_SLOTS, 1 << (slots - 1).bit_length())
    return power * 3 // 4 if slots <= power * 3 // 4 and power > _FEWEST_SLOTS else power


def prompt_length_for(tokens: int, is_compiled: bool) -> int:
    """Returns the number of positions in which prompts are computed.

    Args:
        tokens: The number of tokens of the longest.
        is_compiled: Whether each length is compiled; then it is rounded up, by a quarter at most if it is large.
    """
    if not is_compiled:
        return tokens
    step = max(_FEWEST_TOKENS, 1 << max(tokens.bit_length() - 3, 0))
    return -(-tokens // step) * step
