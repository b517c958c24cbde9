"""Measures kernels that compute the same, to find the one that is the fastest on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

FEW_ROWS = 8
_MOST_ROWS = 1024
"""From so many rows on, kernels are as fast as for more."""
_FEWEST = 3
"""How often each kernel is measured at least: other load may hit one of them."""
_REPETITIONS, _MOST_SECONDS = 5, 0.2
"""How often it is measured, and after how many seconds, for all together, it is no longer."""
_HOPELESS = 4
"""A kernel that takes so many times as long as the fastest for few rows is not measured for more."""


def bucket(rows: torch.Tensor) -> int:
    """Returns a number for rows with which a kernel takes about as long."""
    return min(rows.shape[0].bit_length(), _MOST_ROWS.bit_length())


def hopeful_seconds(
    kernels: Mapping[str, Callable[..., Any]], few: Sequence[Any], arguments: Sequence[Any]
) -> dict[str, float]:
    """Returns the shortest time of each kernel, without those that are hopeless: one may take 100 times as long.

    Args:
        kernels: The kernels.
        few: Their arguments for `FEW_ROWS` rows, by which hopeless ones are found.
        arguments: Their arguments for all rows.
    """
    first = seconds(kernels, few, _FEWEST)
    most = _HOPELESS * min(first.values())
    return seconds({name: kernel for name, kernel in kernels.items() if first[name] < most}, arguments)


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
        if repetition >= _FEWEST and time.perf_counter() > end:
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
