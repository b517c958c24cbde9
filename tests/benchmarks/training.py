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
FORMATS = {"vertebra": "native", "kerashub": "kerashub", "peft": "transformers"}


class Training:
    """One training in a process of its own, which waits between its steps."""

    def __init__(self, command: list[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True, env=ENVIRONMENT
        )
        self._said: list[str] = []

    def step(self) -> float:
        """Returns the seconds of a step."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._answer())

    def end(self) -> dict[str, float]:
        """Returns the figures of the whole process."""
        self._process.stdin.close()
        return json.loads(self._answer())

    def _answer(self) -> str:
        answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            raise RuntimeError(f"{self._process.args} ended:\n{self._errors.read().decode()[-2000:]}")
        return answer


def measure_training(runs: int, peers: Path, work: Path) -> list[Row]:
    """Measures every model on every runtime.

    Args:
        runs: How many processes there are of each library.
        peers: The interpreter of the environment with KerasHub and PEFT.
        work: A folder for the presets.
    """
    return [row for name in MODELS for runtime in RUNTIMES for row in _rows(runs, peers, work, name, runtime)]


def _rows(runs: int, peers: Path, work: Path, name: str, runtime: str) -> list[Row]:
    trainings = {"Vertebra": ("vertebra", "keras"), "KerasHub": ("kerashub", "keras")}
    if runtime == "torch":
        trainings |= {"Vertebra, torch loop": ("vertebra", "torch"), "PEFT, torch loop": ("peft", "torch")}
    commands = {
        title: _command(peers, work, library, runtime, name, loop) for title, (library, loop) in trainings.items()
    }
    results = _medians([_trained_together(commands) for _ in range(runs)])
    return [_row(f"{MODELS[name].title}, {runtime}", title, results) for title in trainings]


def _command(peers: Path, work: Path, library: str, runtime: str, model: str, loop: str) -> list[str]:
    folder = preset_of(work, peers, model, FORMATS[library])
    read_through(folder)
    python = sys.executable if library == "vertebra" else str(peers)
    return [python, str(HERE / "train.py"), library, runtime, model, loop, str(folder)]


def _trained_together(commands: Mapping[str, list[str]]) -> dict[str, dict[str, float]]:
    """Trains in all processes at once, but by turns, so that each finds the machine as the others do."""
    trainings = {title: Training(command) for title, command in commands.items()}
    for training in trainings.values():
        for _ in range(WARM):
            training.step()
    rounds = [{title: training.step() for title, training in trainings.items()} for _ in range(STEPS)]
    times = {title: statistics.median(times[title] for times in rounds) for title in trainings}
    return {title: training.end() | {"step": times[title]} for title, training in trainings.items()}


def _medians(results: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        title: {key: statistics.median(result[title][key] for result in results) for key in figures}
        for title, figures in results[0].items()
    }


def _row(model: str, title: str, results: Mapping[str, Mapping[str, float]]) -> Row:
    own = results[title]
    peer = results["PEFT, torch loop" if "torch loop" in title else "KerasHub"]
    row = {
        "model": model,
        "trained by": title if title.startswith("Vertebra") else f"*{title}*",
        "parameters": f"{own['trained']:,.0f}",
        "step, s": own["step"],
        "of the peer's, %": own["step"] / peer["step"],
        "anonymous, MB": own["anonymous_mb"],
        "RSS, MB": own["rss_mb"],
        "whole process, MB": own["peak_mb"],
        "of the peer's memory, %": own["peak_mb"] / peer["peak_mb"],
    }
    return row | {"bars": _verdict(title, row)}


def _verdict(title: str, row: Row) -> str | None:
    if not title.startswith("Vertebra"):
        return None
    in_torch = "torch loop" in title
    bars = {"time": row["of the peer's, %"] <= (MOST_OF_PEFT if in_torch else MOST_OF_KERASHUB)}
    if in_torch:
        bars["memory"] = row["of the peer's memory, %"] <= MOST_OF_PEFT_MEMORY
    missed = ", ".join(bar for bar, holds in bars.items() if not holds)
    return f"missed: {missed}" if missed else "hold"
