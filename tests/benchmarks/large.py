"""What is larger than memory: inspected and planned from its headers, and loaded without being read."""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from loading import RUNTIMES
from measure import Row, figures, interleaved, wall_seconds
from models import GEMMA2_27B, GEMMA_2B

HERE = Path(__file__).parent
VERTEBRA = str(Path(sys.executable).parent / "vertebra")


@dataclass(frozen=True)
class Sparse:
    """A native preset whose files have their lengths and no contents."""

    title: str
    arguments: dict[str, Any]
    dtype: str
    shard_gb: float | None

    def write(self, work: Path) -> Path:
        """Returns its folder, made if it is not there yet."""
        folder = work / f"sparse-{self.title}-{self.dtype}-{self.shard_gb}".replace(" ", "-").lower()
        if not (folder / "config.json").exists():
            call = [sys.executable, str(HERE / "sparse.py"), str(folder), self.dtype, json.dumps(self.shard_gb)]
            subprocess.run(call, input=json.dumps(self.arguments).encode(), check=True)
        return folder


HUGE = [Sparse("Gemma 2 27B", GEMMA2_27B, "float32", 5), Sparse("Gemma 2 27B", GEMMA2_27B, "float32", None)]
LARGE = [Sparse("Gemma 2B", GEMMA_2B, "float32", 2.5), Sparse("Gemma 2B", GEMMA_2B, "bfloat16", 2.5)]


def measure_headers(runs: int, work: Path) -> list[Row]:
    """Times `vertebra inspect` and `vertebra plan`, as whole processes."""
    rows = []
    for preset in HUGE:
        folder = preset.write(work)
        commands = {name: [VERTEBRA, name, str(folder)] for name in ("inspect", "plan")}
        times = interleaved(runs, **{name: partial(wall_seconds, line) for name, line in commands.items()})
        rows.append(_facts(preset, folder) | {f"{name}, s": seconds for name, seconds in times.items()})
    return rows


def measure_large(runs: int, work: Path) -> list[Row]:
    """Measures loading in the stored dtype; nothing is computed, because the weights are zeros."""
    return [_load(runs, work, preset, runtime) for preset in [*LARGE, HUGE[0]] for runtime in RUNTIMES]


def _load(runs: int, work: Path, preset: Sparse, runtime: str) -> Row:
    folder = preset.write(work)
    library = [sys.executable, str(HERE / "libraries.py"), "vertebra"]
    line = [*library, runtime, "gemma", "only-load", str(folder), preset.dtype]
    own = interleaved(runs, load=partial(figures, line))["load"]
    return _facts(preset, folder) | {
        "runtime": runtime,
        "time, s": own["seconds"],
        "anonymous, MB": own["anonymous_mb"],
        "RSS, MB": own["rss_mb"],
        "RSS, %": own["rss_mb"] * 2**20 / _size(folder),
    }


def _facts(preset: Sparse, folder: Path) -> Row:
    files = len(list(folder.glob("*.safetensors")))
    return {"preset": f"{preset.title}, {preset.dtype}", "size, GB": _size(folder) / 1e9, "files": files}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
