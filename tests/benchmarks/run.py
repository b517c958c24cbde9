"""`make bench`: measures against the bars of the design and against peers; prints tables, and keeps them as JSON."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import measure as measuring
import results
from adapting import measure_adapting
from classifying import measure_classifying
from converting import measure_converting
from embedding import measure_embedding, measure_rows
from forward import measure_forward
from generating import BYTES, TOKENS, measure_generating
from growth import measure_compiling, measure_discovery, measure_memory
from large import measure_headers, measure_large
from loading import RUNTIMES, measure_bfloat16, measure_loading
from measure import Row
from models import DECODERS, MODELS
from plots import draw_all
from precision import measure_precision
from reopening import measure_reopening
from starting import measure_starting
from startup import measure_startup
from storing import measure_storing
from tables import markdown, replace_table
from tokenizing import measure_tokenizing
from training import measure_training

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "benchmarks"
PAGE, RESULTS = FOLDER / "index.md", "results.json"
PEERS = [
    "keras-hub==0.32.0",
    "transformers==5.23.0",
    "peft==0.21.2",
    "sentence-transformers==6.2.0",
    "torch==2.13.0",
    "jax==0.10.2",
    "keras==3.15.1",
]
TABLES = (
    "forward.float32",
    "forward.bfloat16",
    "precision",
    "training",
    "loading",
    "bfloat16",
    "starting",
    "growth.memory",
    "growth.discovery",
    "growth.compiling",
    "headers",
    "large",
    "converting",
    "adapting",
    "storage",
    "storage.cached",
    "tokenizing",
    "embedding",
    "embedding.rows",
    "classifying",
    "generating",
    "startup",
)
"""The name of a part, with a dot if it has several tables."""
PARTS = tuple(dict.fromkeys(name.partition(".")[0] for name in TABLES))
ON_PROCESSORS = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}


def main() -> int:
    chosen = arguments()
    measuring.ENVIRONMENT |= ON_PROCESSORS
    work = ROOT / "build" / "benchmarks"
    work.mkdir(parents=True, exist_ok=True)
    failed = []
    for name, measure in measures(chosen, work).items():
        if name in chosen.only or name.partition(".")[0] in chosen.only:
            try:
                keep(name, results.record(chosen.runs, measure()), work, chosen.write)
            except (Exception, SystemExit) as error:  # the other parts take hours: they are not lost
                failed.append(name)
                print(f"\n{name} failed: {error}", file=sys.stderr, flush=True)
    for folder in [work, FOLDER] if chosen.write else [work]:
        for path in draw_all(results.read(folder / RESULTS), folder):
            print(path.relative_to(ROOT))
    return int(bool(failed))


def keep(name: str, record: results.Record, work: Path, is_written: bool) -> None:
    """Prints a table, and keeps its results, in the documentation, too, if it is written."""
    table = markdown(record["rows"])
    print(f"\n{name} (load average {record['load_average']})\n\n{table}", flush=True)
    results.keep(work / RESULTS, name, record)
    if is_written:
        replace_table(PAGE, name, table)
        results.keep(FOLDER / RESULTS, name, record)


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="times that each measure is repeated (default: 5)")
    parser.add_argument("--peers", type=Path, help="interpreter of an environment with the peers")
    parser.add_argument(
        "--only", nargs="+", choices=sorted({*PARTS, *TABLES}), default=PARTS, metavar="PART", help="measure these"
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=tuple(MODELS), help="of comparisons with peers")
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES, help="of comparisons with peers")
    parser.add_argument("--decoders", nargs="+", default=tuple(DECODERS), help="the models that generate")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="that are generated for each prompt (default: 128)")
    parser.add_argument(
        "--dtypes", nargs="+", choices=BYTES, help="of generation (default: bfloat16, too, if the processor has it)"
    )
    parser.add_argument(
        "--write", action="store_true", help=f"put tables, {RESULTS} and plots into {FOLDER.relative_to(ROOT)}"
    )
    chosen = parser.parse_args()
    if chosen.runs < 1:
        parser.error(f"--runs {chosen.runs}: expected a number of at least 1")
    return chosen


def measures(chosen: argparse.Namespace, work: Path) -> dict[str, Callable[[], list[Row]]]:
    """Returns what can be measured, by the name of its table.

    The peers' environment is made when a part first needs it.
    """
    runs, models, runtimes = chosen.runs, chosen.models, chosen.runtimes

    def with_peers(measure: Callable[..., list[Row]], *before: str, **options: object) -> Callable[[], list[Row]]:
        return lambda: measure(*before, runs, chosen.peers or make_peers(work / "peers"), work, **options)

    compared = {"models": models, "runtimes": runtimes}
    found = {
        "forward.float32": with_peers(measure_forward, "float32", **compared),
        "forward.bfloat16": with_peers(measure_forward, "bfloat16", **compared),
        "precision": partial(measure_precision, runs, work, **compared),
        "training": with_peers(measure_training, **compared),
        "loading": with_peers(measure_loading, **compared),
        "bfloat16": with_peers(measure_bfloat16, runtimes=runtimes),
        "starting": with_peers(measure_starting, **compared),
        "growth.memory": partial(measure_memory, runs, work, runtimes),
        "growth.discovery": partial(measure_discovery, 3 * runs),
        "growth.compiling": partial(measure_compiling, runs, runtimes),
        "headers": partial(measure_headers, runs, work),
        "large": partial(measure_large, runs, work),
        "converting": with_peers(measure_converting),
        "adapting": with_peers(measure_adapting),
        "storage": partial(measure_storing, 2 * runs, work),
        "storage.cached": partial(measure_reopening, runs, work),
        "tokenizing": partial(measure_tokenizing, 2 * runs),
        "embedding": with_peers(measure_embedding),
        "embedding.rows": partial(measure_rows, runs, work),
        "classifying": with_peers(lambda _, peers, work: measure_classifying(peers, work)),
        "generating": with_peers(
            measure_generating,
            models=chosen.decoders,
            runtimes=runtimes,
            dtypes=chosen.dtypes,
            tokens=chosen.tokens,
        ),
        "startup": partial(measure_startup, 3 * runs),
    }
    return {name: found[name] for name in TABLES}


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


if __name__ == "__main__":
    sys.exit(main())
