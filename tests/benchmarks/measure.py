"""Runs child processes in turn and reports medians: machines are noisy, so what is compared is interleaved."""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""A row of a table, by the title of the column: texts, numbers, and None for what was not measured."""

# As on a user's machine: modules are compiled once, and not anew by each process.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


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


def read_through(folder: Path) -> None:
    """Reads every file in a folder once, so that the operating system holds them in memory."""
    for path in filter(Path.is_file, folder.rglob("*")):
        with path.open("rb") as file:
            while file.read(2**24):
                pass
