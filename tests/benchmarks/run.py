"""`make bench`: measures against the bars of the design and against peers, and prints a table."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from loading import measure_loading
from startup import measure_startup

ROOT = Path(__file__).parents[2]
PEERS = ["keras-hub==0.32.0", "torch==2.13.0", "jax==0.10.2", "keras==3.15.1"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="times that each measure is repeated (default: 5)")
    parser.add_argument("--peers", type=Path, help="interpreter of an environment with KerasHub (default: make one)")
    parser.add_argument("--only", choices=["startup", "loading"], help="measure one part")
    chosen = parser.parse_args()
    work = ROOT / "build" / "benchmarks"
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    if chosen.only != "loading":
        rows += measure_startup(3 * chosen.runs)
    if chosen.only != "startup":
        rows += measure_loading(chosen.runs, chosen.peers or make_peers(work / "peers"), work)
    print_table(rows)
    return 0


def make_peers(folder: Path) -> Path:
    """Makes an environment of its own for KerasHub, which needs TensorFlow."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        uv = Path(sys.executable).parent / "uv"
        subprocess.run([str(uv), "pip", "install", "--quiet", "--python", str(python), *PEERS], check=True)
        (folder / "ready").touch()
    return python


def print_table(rows: list[tuple[str, str, str, bool]]) -> None:
    """Prints medians beside their bars; a bar that is missed is said, not raised: machines are noisy."""
    width = max(len(row[0]) for row in rows)
    measured = max(len(row[1]) for row in rows)
    for what, value, bar, holds in rows:
        print(f"{what:<{width}}  {value:<{measured}}  bar {bar:<7} {'holds' if holds else 'MISSED'}")


if __name__ == "__main__":
    sys.exit(main())
