"""Compiled forward passes in float32, bfloat16 and int8: the time of each, its memory, and its error."""

import sys
from collections.abc import Sequence
from pathlib import Path

from loading import RUNTIMES, preset_of
from measure import Row, figures, median, ratio, read_through
from models import MODELS, model_of

PASS = Path(__file__).with_name("precision_pass.py")
EXACT = "float32"


def measure_precision(
    runs: int, work: Path, models: Sequence[str] = tuple(MODELS), runtimes: Sequence[str] = RUNTIMES
) -> list[Row]:
    """Measures the forward passes of one preset in each precision, in turn, in one process for each runtime.

    Args:
        runs: How many times each pass is measured.
        work: A folder for the presets.
        models: Names in `MODELS`.
        runtimes: The runtimes.
    """
    return [row for model in models for runtime in runtimes for row in _rows(model, runtime, runs, work)]


def _rows(model: str, runtime: str, runs: int, work: Path) -> list[Row]:
    preset = preset_of(work, Path(sys.executable), model, "native")
    read_through(preset)
    found = figures([sys.executable, str(PASS), runtime, model, str(runs), str(preset)])
    return [
        {
            "model": f"{model_of(model).title}, {runtime}",
            "shape": shape,
            "computed in": precision,
            "weights, MB": found["weights"][precision] / 2**20,
            "time, ms": 1000 * median(seconds),
            "of float32, %": ratio(seconds, times[EXACT]),
            "error, %": found["errors"][shape][precision],
        }
        for shape, times in found["seconds"].items()
        for precision, seconds in times.items()
    ]
