"""Fuzzes one target in this process: guided by coverage if atheris is installed, else at random.

    python -m fuzz.campaign safetensors --seconds 60 --folder build/fuzz

The inputs that reached new code are kept in FOLDER/TARGET/corpus, and are the seeds of the next run. An input that
fails is FOLDER/TARGET/crash-HASH; `python -m fuzz.campaign TARGET FILE` reads it again.
"""

import argparse
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fuzz.mutations import MOST_BYTES
from fuzz.target import Target
from fuzz.watch import InputWatch, opened

MEMORY = Path("/dev/shm")
FAILED = Path(__file__).with_name("failed")
MOST_WAITING = 120
"""Seconds after which libFuzzer ends a reader that hangs in compiled code; `Watch` limits processor time."""
SAVED_EACH = 0.5
"""Seconds between two reports of the numbers so far: libFuzzer ends the process without a word to Python."""


class Report:
    """Keeps the numbers of a run in a file."""

    def __init__(self, path: Path, watch: InputWatch) -> None:
        self._path, self._watch, self._saved = path, watch, 0.0
        self._started, self._inputs = time.monotonic(), 0

    def count(self) -> None:
        self._inputs += 1
        if time.monotonic() - self._saved > SAVED_EACH:
            self.save()

    def save(self) -> None:
        self._saved = time.monotonic()
        facts = {
            "inputs": self._inputs,
            "seconds": time.monotonic() - self._started,
            "outcomes": dict(self._watch.outcomes),
            "killed": self._watch.killed,
            "slowest": self._watch.slowest,
            "grown": self._watch.grown(),
        }
        self._path.with_suffix(".new").write_text(json.dumps(facts))
        self._path.with_suffix(".new").replace(self._path)


@contextlib.contextmanager
def instrumented() -> Iterator[None]:
    """Has the branches of modules be counted that are imported until the context ends."""
    if importlib.util.find_spec("atheris") is None:
        yield
        return
    import atheris

    plugins = {entry.module.partition(".")[0] for entry in importlib.metadata.entry_points(group="vertebra")}
    with atheris.instrument_imports(include=["vertebra", *sorted(plugins)], enable_loader_override=False):
        yield


def guided(target: Target, watch: InputWatch, report: Report, folder: Path, limits: list[str]) -> None:
    """Runs libFuzzer, which ends this process."""
    import atheris

    def read(data: bytes) -> None:
        try:
            watch(data)
        finally:
            report.count()

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        choices = random.Random(seed)
        if choices.randint(0, 3) == 0:
            return atheris.Mutate(data, most)
        return target.mutate(data, choices, target.words)[:most]

    options = [
        f"-timeout={MOST_WAITING}",
        "-print_final_stats=1",
        f"-artifact_prefix={folder}/",
        f"-max_len={MOST_BYTES}",
        "-len_control=0",
    ]
    atheris.Setup([sys.argv[0], *options, *limits, str(folder / "corpus")], read, custom_mutator=mutate)
    atheris.Fuzz()


def at_random(target: Target, watch: InputWatch, report: Report, folder: Path, seconds: float, runs: int) -> None:
    """Reads changed seeds until the time or the number of inputs is used up."""
    choices, pool, stop = random.Random(0), list(target.seeds()), time.monotonic() + seconds
    count = 0
    while count < runs and time.monotonic() < stop:
        data, count = target.mutate(choices.choice(pool), choices, target.words), count + 1
        if choices.random() < 0.1 and len(pool) < 200:
            pool.append(data)
        try:
            watch(data)
        except BaseException:
            (folder / f"crash-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise
        finally:
            report.count()


def run(target: Target, options: argparse.Namespace) -> None:
    folder = options.folder.absolute() / target.name
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    with instrumented():
        inputs = [*target.seeds(), *(path.read_bytes() for path in sorted((FAILED / target.name).glob("*")))]
    for data in inputs:
        (folder / "corpus" / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as scratch,
        contextlib.ExitStack() as stack,
    ):
        with instrumented():
            watch = stack.enter_context(opened(target, Path(scratch)))
        report = Report(folder / "report.json", watch)
        report.save()
        if options.inputs:
            for path in options.inputs:
                print(f"{path}: {watch(path.read_bytes())}")
        elif options.random or importlib.util.find_spec("atheris") is None:
            at_random(target, watch, report, folder, options.seconds, options.runs)
        else:
            guided(target, watch, report, folder, [f"-max_total_time={int(options.seconds)}", f"-runs={options.runs}"])
        report.save()


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzzes one target.")
    parser.add_argument("target")
    parser.add_argument("inputs", nargs="*", type=Path, help="read these files instead")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--runs", type=int, default=2**31 - 1)
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--random", action="store_true", help="changed seeds only, without coverage")
    options = parser.parse_args()
    options.inputs = [path.absolute() for path in options.inputs]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with instrumented():
        from fuzz.targets import TARGETS
    run(TARGETS[options.target], options)


if __name__ == "__main__":
    main()
