"""From the start of the interpreter to the first output, of 1×8 tokens, in turn with transformers and KerasHub."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from loading import RUNTIMES, command, preset_of
from measure import ENVIRONMENT, Row, in_turn, quartiles, ratio, read_through, verdict
from models import MODELS

MOST_OF_TRANSFORMERS, MOST_OF_KERASHUB = {"torch": 0.65}, {"jax": 0.25}
"""By runtime."""
VERTEBRA, TRANSFORMERS, KERASHUB = "Vertebra", "*transformers*", "*KerasHub*"
LIMIT = "limit"
"""The framework's import alone, in a new interpreter: no program that computes with it starts sooner."""


def measure_starting(
    runs: int, peers: Path, work: Path, models: Sequence[str] = tuple(MODELS), runtimes: Sequence[str] = RUNTIMES
) -> list[Row]:
    """Times new processes until their first output; each library loads a preset that it wrote itself.

    Args:
        runs: How often each start is repeated, in turn.
        peers: The interpreter of the environment with KerasHub and transformers.
        work: A folder for the presets.
        models: Names in `MODELS`.
        runtimes: The runtimes of Vertebra and KerasHub.
    """
    return [row for name in models for runtime in runtimes for row in _rows(runs, peers, work, name, runtime)]


def first_output(line: Sequence[str]) -> float:
    """Returns the seconds from the start of a process to the first line that it prints.

    Raises:
        RuntimeError: the process ended without a line.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT
    ) as process:
        answer = process.stdout.readline()
        seconds = time.perf_counter() - start
    if not answer:
        raise RuntimeError(f"{' '.join(line)} ended with status {process.returncode} and printed nothing")
    return seconds


def _rows(runs: int, peers: Path, work: Path, name: str, runtime: str) -> list[Row]:
    def start(library: str, format: str, runtime: str) -> list[str]:
        folder = preset_of(work, peers, name, format)
        read_through(folder)
        return command(peers, library, runtime, name, "first", folder)

    lines = {
        VERTEBRA: start("vertebra", "native", runtime),
        KERASHUB: start("kerashub", "kerashub", runtime),
        LIMIT: [sys.executable, "-c", f"import {runtime}; print()"],
    }
    if runtime == "torch":
        lines[TRANSFORMERS] = start("transformers", "transformers", runtime)
    times = in_turn(runs, **{title: partial(first_output, line) for title, line in lines.items()})
    return [row(f"{MODELS[name].title}, {runtime}", title, times, runtime) for title in lines if title != LIMIT]


def row(model: str, title: str, times: Mapping[str, Sequence[float]], runtime: str) -> Row:
    """Returns the row of one library."""
    own = times[title]
    found = {
        "model": model,
        "started": title,
        "to first output, s": median(own),
        "quartiles, s": quartiles(own),
        "of transformers', %": ratio(own, times[TRANSFORMERS]) if TRANSFORMERS in times else None,
        "of KerasHub's, %": ratio(own, times[KERASHUB]),
        "limit, s": median(times[LIMIT]),
        "of the limit, %": ratio(times[LIMIT], own),
    }
    bars = {}
    if runtime in MOST_OF_TRANSFORMERS:
        bars["transformers"] = found["of transformers', %"] <= MOST_OF_TRANSFORMERS[runtime]
    if runtime in MOST_OF_KERASHUB:
        bars["KerasHub"] = found["of KerasHub's, %"] <= MOST_OF_KERASHUB[runtime]
    return found | {"bars": verdict(bars) if title == VERTEBRA else None}
