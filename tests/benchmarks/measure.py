"""Runs child processes in turn and reports medians: machines are noisy, so what is compared is interleaved."""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""A row of a table, by the title of the column: texts, numbers, and None for what was not measured."""

# As on a user's machine: modules are compiled once, and not anew by each process.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

MOST_IN_A_ROW = 0.5
"""Seconds."""


def wall_seconds(command: Sequence[str]) -> float:
    """Returns how long a command takes, as a whole process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def figures(command: Sequence[str]) -> dict[str, float]:
    """Runs a command and returns the JSON object that it prints last."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def interleaved(runs: int, **measures: Callable[[], Any]) -> dict[str, Any]:
    """Calls each measure in turn, `runs` times, and returns the medians by name."""
    return {name: median(values) for name, values in in_turn(runs, **measures).items()}


def in_turn(runs: int, **measures: Callable[[], Any]) -> dict[str, list[Any]]:
    """Calls each measure in turn, `runs` times, and returns all that they found, by name.

    Every other time the order is reversed: what one leaves behind is not always the same one's to bear.
    """
    results: dict[str, list[Any]] = {name: [] for name in measures}
    for number in range(runs):
        for name in list(measures)[:: -1 if number % 2 else 1]:
            results[name].append(measures[name]())
    return results


def median(values: list[Any]) -> Any:
    """Returns the median of numbers, or, of tables, those of their entries."""
    if isinstance(values[0], dict):
        return {key: statistics.median(value[key] for value in values) for key in values[0]}
    return statistics.median(values)


def seconds_in_a_row(call: Callable[[], Any], most: int) -> float:
    """Returns the median time of calls in a row: as many as begin within half a second, from one to a number."""
    times: list[float] = []
    while not times or (len(times) < most and sum(times) < MOST_IN_A_ROW):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def quartiles(values: Sequence[float]) -> list[float]:
    """Returns the first and the third quartile: half of the values lie between them."""
    if len(values) == 1:
        return [values[0], values[0]]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return [first, third]


def ratio(own: Sequence[float], peer: Sequence[float]) -> float:
    """Returns the median over consecutive turns of the own figure by the peer's."""
    return statistics.median(one / other for one, other in zip(own, peer, strict=True))


def verdict(bars: Mapping[str, bool]) -> str | None:
    """Returns whether bars hold, by their names, or None if there are none."""
    missed = ", ".join(bar for bar, holds in bars.items() if not holds)
    return f"missed: {missed}" if missed else "holds" if bars else None


def read_through(folder: Path) -> None:
    """Reads every file in a folder once, so that the operating system holds them in memory."""
    for path in filter(Path.is_file, folder.rglob("*")):
        with path.open("rb") as file:
            while file.read(2**24):
                pass
