"""Loading from presets that each library wrote itself, against KerasHub's and transformers' own loading of theirs."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from measure import Row, figures, in_turn, median, quartiles, ratio, read_through, verdict
from models import MODELS

HERE = Path(__file__).parent
RUNTIMES = ("torch", "jax")
WRITERS = {"native": "vertebra", "kerashub": "kerashub", "transformers": "transformers"}
"""Each format, and the library that writes it."""
MOST_OF_KERASHUB, MOST_OF_TRANSFORMERS, MOST_OF_WEIGHTS = 1 / 20, 1 / 2, 0.1
MOST_AGAIN, MOST_AGAIN_COPIED = 1.0, 2.0
"""Of transformers' second load: in general, and on JAX from formats whose tensors JAX cannot view."""
LIMIT = "limit"
Results = Mapping[str, Sequence[Mapping[str, float]]]
"""The figures of each load, turn by turn."""


def measure_loading(
    runs: int, peers: Path, work: Path, models: Sequence[str] = tuple(MODELS), runtimes: Sequence[str] = RUNTIMES
) -> list[Row]:
    """Measures models, from every format.

    Args:
        runs: How often each load is repeated, in turn.
        peers: The interpreter of the environment with KerasHub and transformers.
        work: A folder for the presets.
        models: Names in `MODELS`.
        runtimes: The runtimes on which Vertebra and KerasHub load.
    """
    return [row for name in models for runtime in runtimes for row in _rows(runs, peers, work, name, runtime)]


def measure_bfloat16(runs: int, peers: Path, work: Path, runtimes: Sequence[str] = RUNTIMES) -> list[Row]:
    """Measures loading Gemma from presets in bfloat16 as bfloat16, which no step should widen."""
    rows = [row for runtime in runtimes for row in _rows(runs, peers, work, "gemma", runtime, "bfloat16")]
    kept = ("model", "loaded", "time, s", "quartiles, s", "anonymous, MB", "anonymous, %", "RSS, MB")
    return [{column: row[column] for column in kept} for row in rows]


def command(peers: Path, library: str, runtime: str, model: str, action: str, folder: Path, *dtype: str) -> list[str]:
    """Returns the command line of one job of one library, in its own environment."""
    python = str(peers) if library in ("kerashub", "transformers") else sys.executable
    return [python, str(HERE / "libraries.py"), library, runtime, model, action, str(folder), *dtype]


def preset_of(work: Path, peers: Path, model: str, format: str, *dtype: str) -> Path:
    """Returns a model's preset, written by the format's own library if it is not there yet."""
    folder = work / "-".join([model, format, *dtype])
    if not (folder / "config.json").exists():
        subprocess.run(command(peers, WRITERS[format], "torch", model, "write", folder, *dtype), check=True)
    return folder


def _rows(runs: int, peers: Path, work: Path, name: str, runtime: str, *dtype: str) -> list[Row]:
    presets = {format: preset_of(work, peers, name, format, *dtype) for format in WRITERS}
    for folder in presets.values():
        read_through(folder)
    # A second load in the same process finds nothing left to import; it takes KerasHub as long as the first.
    loads = {
        f"{format} preset": command(peers, "vertebra", runtime, name, "reload", presets[format], *dtype)
        for format in presets
    }
    loads["KerasHub"] = command(peers, "kerashub", runtime, name, "load", presets["kerashub"], *dtype)
    loads["transformers"] = command(peers, "transformers", "torch", name, "reload", presets["transformers"], *dtype)
    # The least that a load without copies does.
    loads[LIMIT] = command(peers, "views", runtime, name, "reload", presets["native"], *dtype)
    results = in_turn(runs, **{what: partial(figures, load) for what, load in loads.items()})
    size = sum(path.stat().st_size for path in presets["native"].glob("*.safetensors")) / 2**20
    return [_row(f"{MODELS[name].title}, {runtime}", what, results, size) for what in loads if what != LIMIT]


def _row(model: str, what: str, results: Results, size: float) -> Row:
    def times(of: str, figure: str = "seconds") -> list[float]:
        return [run[figure] for run in results[of]]

    own = median(results[what])
    again = times(what, "again") if "again" in own else None
    limit = times(LIMIT, "again")
    row = {
        "model": model,
        "loaded": f"from a {what}" if what.endswith("preset") else f"*by {what} itself*",
        "time, s": own["seconds"],
        "quartiles, s": quartiles(times(what)),
        "of KerasHub, ×": ratio(times(what), times("KerasHub")),
        "of transformers, ×": ratio(times(what), times("transformers")),
        "again, s": own.get("again"),
        "again, quartiles, s": quartiles(again) if again else None,
        "again of transformers, ×": ratio(again, times("transformers", "again")) if again else None,
        "limit, ms": 1000 * median(limit),
        "again, of the limit, %": ratio(limit, again) if again else None,
        "to first output, s": own["first_output"],
        "anonymous, MB": own["anonymous_mb"],
        "anonymous, %": own["anonymous_mb"] / size,
        "RSS, MB": own["rss_mb"],
    }
    return row | {"bars": verdict(_bars(what, row, own["rss_mb"] / size))}


def _bars(what: str, row: Row, share: float) -> dict[str, bool]:
    """Returns whether each bar of a load holds; the loads of other libraries have none."""
    if not what.endswith("preset"):
        return {}
    bars = {}
    if what == "native preset":
        bars = {"time": row["of KerasHub, ×"] <= MOST_OF_KERASHUB, "memory": share <= MOST_OF_WEIGHTS}
    elif what == "transformers preset":
        bars = {"first": row["of transformers, ×"] <= MOST_OF_TRANSFORMERS}
    return bars | {"again": row["again of transformers, ×"] <= most_again(row["model"], what)}


def most_again(model: str, what: str) -> float:
    """Returns the bar of a second load, as a share of transformers'."""
    is_copied = model.endswith("jax") and not what.endswith("native preset")
    return MOST_AGAIN_COPIED if is_copied else MOST_AGAIN
