"""LoRA adapters from files: applied, swapped, and a hundred at once; beside PEFT, which reads the same ones."""

import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from loading import preset_of
from measure import Row, figures, interleaved, read_through, verdict
from models import MODELS

HERE = Path(__file__).parent
MODEL = "bert"
MOST_TO_APPLY, MOST_TO_SWAP = 50, 5
SIDES = [("vertebra", "torch"), ("vertebra", "jax"), ("peft", "torch")]
FORMATS = {"vertebra": "native", "peft": "transformers"}
ACTIONS = ("apply", "swap", "many")


def measure_adapting(runs: int, peers: Path, work: Path) -> list[Row]:
    """Measures BERT-base on every runtime, and PEFT on torch.

    Args:
        runs: How often each measure is repeated, in turn.
        peers: The interpreter of the environment with PEFT.
        work: A folder for the presets and the adapters.
    """
    adapters = work / f"{MODEL}-adapters"
    if not adapters.exists():
        subprocess.run(_command(peers, work, "vertebra", "torch", "write", adapters), check=True)
    read_through(adapters)
    lines = {
        f"{library} {runtime} {action}": _command(peers, work, library, runtime, action, adapters)
        for library, runtime in SIDES
        for action in ACTIONS
    }
    results = interleaved(runs, **{what: partial(figures, line) for what, line in lines.items()})
    size = sum(path.stat().st_size for path in adapters.glob("*.safetensors")) / 2**20
    return [_row(library, runtime, results, size) for library, runtime in SIDES]


def _command(peers: Path, work: Path, library: str, runtime: str, action: str, adapters: Path) -> list[str]:
    preset = preset_of(work, peers, MODEL, FORMATS[library])
    read_through(preset)
    python = sys.executable if library == "vertebra" else str(peers)
    return [python, str(HERE / "adapt.py"), library, runtime, MODEL, action, str(preset), str(adapters)]


def _row(library: str, runtime: str, results: Mapping[str, Mapping[str, float]], size: float) -> Row:
    apply, swap, many = (results[f"{library} {runtime} {action}"] for action in ACTIONS)
    row = {
        "model": f"{MODELS[MODEL].title}, {runtime}",
        "by": "Vertebra" if library == "vertebra" else "*PEFT*",
        "applied first, ms": apply["first"] * 1000,
        "applied again, ms": apply["again"] * 1000,
        "swapped, ms": swap["swap"] * 1000,
        "100 loaded, s": many["seconds"],
        "their files, MB": size,
        "anonymous, MB": many["anonymous_mb"],
        "RSS, MB": many["rss_mb"],
        "RSS of files, %": many["rss_mb"] / size,
    }
    bars = {"apply": row["applied first, ms"] <= MOST_TO_APPLY, "swap": row["swapped, ms"] <= MOST_TO_SWAP}
    return row | {"bars": verdict(bars) if library == "vertebra" else None}
