"""Loading from presets that each library wrote itself, against KerasHub's and transformers' own loading of theirs."""

import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from measure import Row, figures, interleaved, read_through
from models import MODELS

HERE = Path(__file__).parent
RUNTIMES = ("torch", "jax")
WRITERS = {"native": "vertebra", "kerashub": "kerashub", "transformers": "transformers"}
"""Each format, and the library that writes it."""
MOST_OF_KERASHUB, MOST_OF_TRANSFORMERS, MOST_OF_WEIGHTS = 1 / 20, 1 / 2, 0.1


def measure_loading(runs: int, peers: Path, work: Path) -> list[Row]:
    """Measures every model, from every format, on every runtime.

    Args:
        runs: How often each load is repeated, in turn.
        peers: The interpreter of the environment with KerasHub and transformers.
        work: A folder for the presets.
    """
    return [row for name in MODELS for runtime in RUNTIMES for row in _rows(runs, peers, work, name, runtime)]


def measure_bfloat16(runs: int, peers: Path, work: Path) -> list[Row]:
    """Measures loading Gemma from presets in bfloat16 as bfloat16, which no step should widen."""
    rows = [row for runtime in RUNTIMES for row in _rows(runs, peers, work, "gemma", runtime, "bfloat16")]
    kept = ("model", "loaded", "time, s", "anonymous, MB", "anonymous, %", "RSS, MB")
    return [{column: row[column] for column in kept} for row in rows]


def command(peers: Path, library: str, runtime: str, model: str, action: str, folder: Path, *dtype: str) -> list[str]:
    """Returns the command line of one job of one library, in its own environment."""
    python = sys.executable if library == "vertebra" else str(peers)
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
    results = interleaved(runs, **{what: partial(figures, load) for what, load in loads.items()})
    size = sum(path.stat().st_size for path in presets["native"].glob("*.safetensors")) / 2**20
    return [_row(f"{MODELS[name].title}, {runtime}", what, results, size) for what in loads]


def _row(model: str, what: str, results: Mapping[str, Mapping[str, float]], size: float) -> Row:
    own, kerashub, transformers = results[what], results["KerasHub"], results["transformers"]
    row = {
        "model": model,
        "loaded": f"from a {what}" if what.endswith("preset") else f"*by {what} itself*",
        "time, s": own["seconds"],
        "of KerasHub, ×": own["seconds"] / kerashub["seconds"],
        "of transformers, ×": own["seconds"] / transformers["seconds"],
        "again, s": own.get("again"),
        "again of transformers, ×": own["again"] / transformers["again"] if "again" in own else None,
        "to first output, s": own["first_output"],
        "anonymous, MB": own["anonymous_mb"],
        "anonymous, %": own["anonymous_mb"] / size,
        "RSS, MB": own["rss_mb"],
    }
    return row | {"bars": _verdict(what, row, own["rss_mb"] / size)}


def _verdict(what: str, row: Row, share: float) -> str | None:
    if what == "native preset":
        bars = {"time": row["of KerasHub, ×"] <= MOST_OF_KERASHUB, "memory": share <= MOST_OF_WEIGHTS}
    elif what == "transformers preset":
        bars = {
            "first": row["of transformers, ×"] <= MOST_OF_TRANSFORMERS,
            "again": row["again of transformers, ×"] <= MOST_OF_TRANSFORMERS,
        }
    else:
        return None
    missed = ", ".join(bar for bar, holds in bars.items() if not holds)
    return f"missed: {missed}" if missed else "hold"
