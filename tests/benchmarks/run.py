"""`make bench`: measures against the bars of the design and against peers; prints tables, and keeps them as JSON."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from adapting import measure_adapting
from classifying import measure_classifying
from converting import measure_converting
from embedding import measure_embedding, measure_rows
from large import measure_headers, measure_large
from loading import measure_bfloat16, measure_loading
from measure import Row
from reopening import measure_reopening
from startup import measure_startup
from storing import measure_storing
from tables import markdown, replace_table
from tokenizing import measure_tokenizing
from training import measure_training

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
PEERS = [
    "keras-hub==0.32.0",
    "transformers==5.23.0",
    "peft==0.21.2",
    "sentence-transformers==6.2.0",
    "torch==2.13.0",
    "jax==0.10.2",
    "keras==3.15.1",
]
PARTS = (
    "startup",
    "loading",
    "bfloat16",
    "headers",
    "large",
    "converting",
    "training",
    "adapting",
    "storage",
    "tokenizing",
    "embedding",
    "classifying",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="times that each measure is repeated (default: 5)")
    parser.add_argument("--peers", type=Path, help="interpreter of an environment with the peers")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.relative_to(ROOT)}")
    chosen = parser.parse_args()
    work = ROOT / "build" / "benchmarks"
    work.mkdir(parents=True, exist_ok=True)
    for name, measure in parts(chosen.runs, chosen.peers, work).items():
        if name.partition(".")[0] in chosen.only:
            table = show(name, measure(), work)
            if chosen.write:
                replace_table(PAGE, name, table)
    return 0


def parts(runs: int, peers: Path | None, work: Path) -> dict[str, Callable[[], list[Row]]]:
    """Returns what can be measured, by the name of its table: that of a part, with a dot if the part has several.

    The peers' environment is made when a part first needs it.
    """

    def with_peers(measure: Callable[[int, Path, Path], list[Row]]) -> list[Row]:
        return measure(runs, peers or make_peers(work / "peers"), work)

    return {
        "startup": partial(measure_startup, 3 * runs),
        "loading": partial(with_peers, measure_loading),
        "bfloat16": partial(with_peers, measure_bfloat16),
        "headers": partial(measure_headers, runs, work),
        "large": partial(measure_large, runs, work),
        "converting": partial(with_peers, measure_converting),
        "training": partial(with_peers, measure_training),
        "adapting": partial(with_peers, measure_adapting),
        "storage": partial(measure_storing, 2 * runs, work),
        "storage.cached": partial(measure_reopening, runs, work),
        "tokenizing": partial(measure_tokenizing, 2 * runs),
        "embedding": partial(with_peers, measure_embedding),
        "embedding.rows": partial(measure_rows, runs, work),
        "classifying": partial(with_peers, lambda _, peers, work: measure_classifying(peers, work)),
    }


def make_peers(folder: Path) -> Path:
    """Makes an environment of its own for the peers: KerasHub needs TensorFlow."""
    python, ready, wanted = folder / "bin" / "python", folder / "ready", "\n".join(PEERS)
    if not ready.exists() or ready.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        uv = Path(sys.executable).parent / "uv"
        subprocess.run([str(uv), "pip", "install", "--quiet", "--python", str(python), *PEERS], check=True)
        ready.write_text(wanted)
    return python


def show(name: str, rows: list[Row], work: Path) -> str:
    """Prints a table, and keeps its rows with the load of the machine; a missed bar is said, not raised."""
    table = markdown(rows)
    load = os.getloadavg()[1]
    print(f"\n{name} (load average {load:.1f})\n\n{table}", flush=True)
    record = {"load_average": load, "rows": rows}
    (work / f"{name}.json").write_text(json.dumps(record, indent=2, ensure_ascii=False), encoding="utf-8")
    return table


if __name__ == "__main__":
    sys.exit(main())
