"""Fine-tuning a classifier with LoRA: the accuracy over five seeds, against transformers with PEFT."""

import json
import statistics
import sys
from pathlib import Path

import measure as measuring
from embedding import minilm
from measure import Row, figures

SEEDS = 5
SIDES = {
    "Vertebra, torch": ("vertebra", "torch"),
    "Vertebra, jax": ("vertebra", "jax"),
    "*transformers and PEFT, torch*": ("peft", "torch"),
}
PEER = "*transformers and PEFT, torch*"


def measure_classifying(peers: Path, work: Path) -> list[Row]:
    """Trains on the demo's remarks and tests on those that it holds out, in a process for each side."""
    from vertebra_bert.demo.sentences import HELD_OUT_PAIRS, TRAINING_PAIRS, labelled

    folder = minilm(work / "classifying")
    remarks = {"training": labelled(TRAINING_PAIRS), "test": labelled(HELD_OUT_PAIRS)}
    (folder.parent / "remarks.json").write_text(json.dumps(remarks), encoding="utf-8")
    return rows({name: list(one(side, peers, folder).values()) for name, side in SIDES.items()})


def one(side: tuple[str, str], peers: Path, folder: Path) -> dict[str, float]:
    """Returns the accuracy of each seed on one side."""
    library, runtime = side
    python = sys.executable if library == "vertebra" else str(peers)
    measuring.ENVIRONMENT |= {"KERAS_BACKEND": runtime, "VERTEBRA_RUNTIME": runtime, "HF_HUB_OFFLINE": "1"}
    return figures([python, str(Path(__file__).parent / "classify.py"), library, str(folder), str(SEEDS)])


def rows(found: dict[str, list[float]]) -> list[Row]:
    """Returns the rows of the table: the bar is the peer's mean less twice the standard error of the difference."""
    mean, deviation = (
        {name: of(values) for name, values in found.items()} for of in (statistics.mean, statistics.stdev)
    )
    return [
        {
            "trained by": name,
            "accuracy, mean, %": mean[name],
            "standard deviation, %": deviation[name],
            "seeds, %": ", ".join(f"{100 * value:.1f}" for value in values),
            "bar": None if name == PEER else bar(name, mean, deviation),
        }
        for name, values in found.items()
    ]


def bar(name: str, mean: dict[str, float], deviation: dict[str, float]) -> str:
    noise = ((deviation[name] ** 2 + deviation[PEER] ** 2) / SEEDS) ** 0.5
    return "holds" if mean[name] >= mean[PEER] - 2 * noise else "missed"
