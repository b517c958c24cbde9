"""Measures kernels that compute the same, to find the one that is the fastest on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

FEWEST = 3
"""How often each kernel is measured at least: other load may hit one of them."""
_REPETITIONS, _MOST_SECONDS = 5, 0.2
"""How often it is measured, and after how many seconds, for all together, it is no longer."""


def seconds(
    kernels: Mapping[str, Callable[..., Any]], arguments: Sequence[Any], repetitions: int = _REPETITIONS
) -> dict[str, float]:
    """Returns the shortest time of each kernel, after one call of each to warm up; calls alternate, as load varies."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter  # without waits for other load
    shortest: dict[str, float] = {}
    end = time.perf_counter() + _MOST_SECONDS
    for repetition in range(1 + repetitions):
        for name, kernel in kernels.items():
            start = clock()
            kernel(*arguments)
            if repetition:
                taken = clock() - start
                shortest[name] = min(taken, shortest.get(name, taken))
        if repetition >= FEWEST and time.perf_counter() > end:
            break
    return shortest


def fastest(shortest: Mapping[str, float], gains: Mapping[str, float]) -> str:
    """Returns the name of the fastest kernel, or of one before it that is hardly slower.

    Args:
        shortest: The time of each kernel; the first are preferred.
        gains: For each kernel the share of the time of those before that it must not exceed.
    """
    chosen, *others = shortest
    for name in others:
        if shortest[name] < gains[name] * shortest[chosen]:
            chosen = name
    return chosen
