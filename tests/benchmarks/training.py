"""LoRA training steps, against KerasHub through Keras's trainer and against PEFT in a loop of torch."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from loading import RUNTIMES, preset_of
from measure import ENVIRONMENT, Row, read_through
from models import MODELS

HERE = Path(__file__).parent
WARM, STEPS = 2, 10
MOST_OF_KERASHUB, MOST_OF_PEFT, MOST_OF_PEFT_MEMORY = 0.9, 1.05, 1.0
VERTEBRA, KERASHUB = "Vertebra", "KerasHub"
VERTEBRA_IN_TORCH, PEFT = "Vertebra, torch loop", "PEFT, torch loop"
TRAININGS = {
    VERTEBRA: ("vertebra", "keras"),
    KERASHUB: ("kerashub", "keras"),
    VERTEBRA_IN_TORCH: ("vertebra", "torch"),
    PEFT: ("peft", "torch"),
}
"""The library and the loop of each."""
PEERS = {VERTEBRA: KERASHUB, KERASHUB: KERASHUB, VERTEBRA_IN_TORCH: PEFT, PEFT: PEFT}
"""What each is compared with."""
Figures = dict[str, float]
FORMATS = {"vertebra": "native", "kerashub": "kerashub", "peft": "transformers"}


class Training:
    """One training in a process of its own, which waits between its steps."""

    def __init__(self, command: list[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True, env=ENVIRONMENT
        )

    def step(self) -> float:
        """Returns the seconds of a step."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._answer())

    def end(self) -> Figures:
        """Returns the figures of the whole process."""
        self._process.stdin.close()
        figures: Figures = json.loads(self._answer())
        self._process.wait()
        return figures

    def _answer(self) -> str:
        answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            raise RuntimeError(f"{self._process.args} ended:\n{self._errors.read().decode()[-2000:]}")
        return answer


def measure_training(runs: int, peers: Path, work: Path) -> list[Row]:
    """Measures BERT-base, of which the bars are, on every runtime.

    Args:
        runs: How many processes there are of each library.
        peers: The interpreter of the environment with KerasHub and PEFT.
        work: A folder for the presets.
    """
    return [row for runtime in RUNTIMES for row in measure_model(runs, peers, work, "bert", runtime)]


def measure_model(runs: int, peers: Path, work: Path, name: str, runtime: str) -> list[Row]:
    """Measures one of `MODELS` on one runtime."""
    commands = {
        title: _command(peers, work, library, runtime, name, loop)
        for title, (library, loop) in TRAININGS.items()
        if loop == "keras" or runtime == "torch"
    }
    results = [_train_together(commands) for _ in range(runs)]
    times = [step for steps, _ in results for step in steps]
    figures = {title: _medians([figures[title] for _, figures in results]) for title in commands}
    return [_row(f"{MODELS[name].title}, {runtime}", title, times, figures) for title in commands]


def _command(peers: Path, work: Path, library: str, runtime: str, model: str, loop: str) -> list[str]:
    folder = preset_of(work, peers, model, FORMATS[library])
    read_through(folder)
    python = sys.executable if library == "vertebra" else str(peers)
    return [python, str(HERE / "train.py"), library, runtime, model, loop, str(folder)]


def _train_together(commands: Mapping[str, list[str]]) -> tuple[list[Figures], dict[str, Figures]]:
    """Trains in all processes at once, but by turns, so that each finds the machine as the others do.

    Returns:
        The seconds of each step by process, and the figures of each process.
    """
    trainings = {title: Training(command) for title, command in commands.items()}
    for training in trainings.values():
        for _ in range(WARM):
            training.step()
    steps = [{title: training.step() for title, training in trainings.items()} for _ in range(STEPS)]
    return steps, {title: training.end() for title, training in trainings.items()}


def _medians(rows: list[Figures]) -> Figures:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def _row(model: str, title: str, times: list[Figures], figures: Mapping[str, Figures]) -> Row:
    own, peer = figures[title], PEERS[title]
    row = {
        "model": model,
        "trained by": f"*{title}*" if title == peer else title,
        "parameters": f"{own['trained']:,.0f}",
        "step, s": _medians(times)[title],
        "of the peer's, %": statistics.median(step[title] / step[peer] for step in times),
        "anonymous, MB": own["anonymous_mb"],
        "RSS, MB": own["rss_mb"],
        "whole process, MB": own["peak_mb"],
        "of the peer's, whole, %": own["peak_mb"] / figures[peer]["peak_mb"],
    }
    return row | {"bars": None if title == peer else _verdict(peer, row)}


def _verdict(peer: str, row: Row) -> str:
    if peer == KERASHUB:
        bars = {"time": row["of the peer's, %"] <= MOST_OF_KERASHUB}
    else:
        bars = {
            "time": row["of the peer's, %"] <= MOST_OF_PEFT,
            "memory": row["of the peer's, whole, %"] <= MOST_OF_PEFT_MEMORY,
        }
    missed = ", ".join(bar for bar, holds in bars.items() if not holds)
    return f"missed: {missed}" if missed else "hold"
