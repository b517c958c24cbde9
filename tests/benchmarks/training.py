"""LoRA training steps, against KerasHub through Keras's trainer and against PEFT in a loop of torch."""

import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from loading import RUNTIMES, preset_of
from measure import Row, in_turn, median, quartiles, ratio, read_through, verdict
from models import MODELS
from turns import waiting

HERE = Path(__file__).parent
WARM, STEPS = 2, 5
MOST_OF_KERASHUB, MOST_OF_PEFT, MOST_OF_PEFT_MEMORY = 0.8, 0.75, 0.75
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
FORMATS = {"vertebra": "native", "kerashub": "kerashub", "peft": "transformers"}
LIMITS = {"torch": ("linear", "packed"), "jax": ("matmul",)}
"""The kernels of the limit, which is two passes: the products of the forward pass, and those of the gradients of their
inputs. The base is not trained, so that its kernels need no gradients."""
Figures = Mapping[str, float]
Times = dict[str, list[float]]


def measure_training(
    runs: int, peers: Path, work: Path, models: Sequence[str] = tuple(MODELS), runtimes: Sequence[str] = RUNTIMES
) -> list[Row]:
    """Measures models.

    Args:
        runs: How many processes there are of each library.
        peers: The interpreter of the environment with KerasHub and PEFT.
        work: A folder for the presets.
        models: Names in `MODELS`.
        runtimes: The runtimes.
    """
    return [row for name in models for runtime in runtimes for row in measure_model(runs, peers, work, name, runtime)]


def measure_model(runs: int, peers: Path, work: Path, name: str, runtime: str) -> list[Row]:
    """Measures one of `MODELS` on one runtime."""
    commands = {
        title: _command(peers, work, library, runtime, name, loop)
        for title, (library, loop) in TRAININGS.items()
        if loop == "keras" or runtime == "torch"
    }
    limit = [sys.executable, str(HERE / "products.py"), runtime, "float32"]
    groups = [
        train_together(commands, [*limit, str(preset_of(work, peers, name, "native"))], runtime) for _ in range(runs)
    ]
    times = {title: [step for steps, _ in groups for step in steps[title]] for title in groups[0][0]}
    figures = {title: median([figures[title] for _, figures in groups]) for title in commands}
    return [row(f"{MODELS[name].title}, {runtime}", title, times, figures, runtime) for title in commands]


def _command(peers: Path, work: Path, library: str, runtime: str, model: str, loop: str) -> list[str]:
    folder = preset_of(work, peers, model, FORMATS[library])
    read_through(folder)
    python = sys.executable if library == "vertebra" else str(peers)
    return [python, str(HERE / "train.py"), library, runtime, model, loop, str(folder)]


def train_together(
    commands: Mapping[str, Sequence[str]], limit: Sequence[str], runtime: str
) -> tuple[Times, dict[str, Figures]]:
    """Trains in all processes at once, but by turns, so that each finds the machine as the others do.

    Args:
        commands: The command line of each training.
        limit: That of the products alone.
        runtime: The runtime, which has the kernels of the limit.

    Returns:
        The seconds of each step, by process and by kernel of the limit, and the figures of each process.
    """
    with waiting({**commands, "limit": limit}) as processes:
        products = processes.pop("limit")
        asks = {title: process.ask for title, process in processes.items()}
        asks |= {kernel: partial(_limit, products, kernel) for kernel in LIMITS[runtime]}
        in_turn(WARM, **asks)
        steps = in_turn(STEPS, **asks)
        return steps, {title: process.end() for title, process in processes.items()}


def _limit(products, kernel: str) -> float | None:
    seconds = products.ask(f"{kernel} 4 128 1")
    return seconds and 2 * seconds


def row(model: str, title: str, times: Times, figures: Mapping[str, Figures], runtime: str) -> Row:
    """Returns the row of one training."""
    own, peer = figures[title], PEERS[title]
    limit = min((times[kernel] for kernel in LIMITS[runtime] if None not in times[kernel]), key=statistics.median)
    found = {
        "model": model,
        "trained by": f"*{title}*" if title == peer else title,
        "parameters": f"{own['trained']:,.0f}",
        "step, s": statistics.median(times[title]),
        "quartiles, s": quartiles(times[title]),
        "of the peer's, %": ratio(times[title], times[peer]),
        "limit, s": statistics.median(limit),
        "of the limit, %": ratio(limit, times[title]),
        "anonymous, MB": own["anonymous_mb"],
        "RSS, MB": own["rss_mb"],
        "whole process, MB": own["peak_mb"],
        "of the peer's, whole, %": own["peak_mb"] / figures[peer]["peak_mb"],
    }
    return found | {"bars": None if title == peer else verdict(_bars(peer, found))}


def _bars(peer: str, row: Row) -> dict[str, bool]:
    if peer == KERASHUB:
        return {"time": row["of the peer's, %"] <= MOST_OF_KERASHUB}
    return {
        "time": row["of the peer's, %"] <= MOST_OF_PEFT,
        "memory": row["of the peer's, whole, %"] <= MOST_OF_PEFT_MEMORY,
    }
