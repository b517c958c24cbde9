"""LoRA adapters of one library in one process.

usage: adapt.py vertebra|peft RUNTIME MODEL write|apply|swap|many FOLDER ADAPTERS

`write` makes the adapters, each as a file and as a folder that PEFT reads. The others print, as JSON, what it takes to
apply one to a model without any, to go from one loaded adapter to another, and to hold them all.
"""

import json
import statistics
import sys
from pathlib import Path

from libraries import Transformers, Vertebra, seconds, wait_for
from models import MODELS
from usage import measured

RANK, COUNT = 8, 100
FRESH, SWAPS = 5, 20


class AdaptedByVertebra(Vertebra):
    suffix = ".safetensors"

    def write(self, folder: str, adapters: Path) -> None:
        """Writes adapters of random values, none of which is zero as in a new one."""
        import numpy as np

        backbone, random = self.load(folder, {}), np.random.default_rng(0)
        backbone.enable_lora(RANK)
        adapters.mkdir(parents=True)
        for number in range(COUNT):
            for variable in backbone.trainable_variables:
                variable.assign(random.normal(size=variable.shape))
            for path in (adapters / f"{number}.safetensors", adapters / str(number)):
                backbone.save_lora_weights(path)

    def apply(self, backbone, path: Path):
        backbone.load_lora_weights(path)
        wait_for([variable.value for variable in backbone.trainable_variables])
        return backbone

    def add(self, backbone, path: Path, name: str):
        backbone.load_lora_weights(path, name=name)
        return backbone

    def activate(self, backbone, name: str) -> None:
        backbone.activate_lora(name)


class AdaptedByPeft(Transformers):
    suffix = ""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        import peft

        self.adapted = peft.PeftModel

    def apply(self, model, path: Path):
        return self.adapted.from_pretrained(model, path)

    def add(self, model, path: Path, name: str):
        if not isinstance(model, self.adapted):
            return self.adapted.from_pretrained(model, path, adapter_name=name)
        model.load_adapter(path, adapter_name=name)
        return model

    def activate(self, model, name: str) -> None:
        model.set_adapter(name)


LIBRARIES = {"vertebra": AdaptedByVertebra, "peft": AdaptedByPeft}


def measure_apply(library, folder: str, paths: list[Path]) -> dict[str, float]:
    """The first time includes what is imported only then."""
    times = [seconds(library.apply, library.load(folder, {}), paths[0]) for _ in range(1 + FRESH)]
    return {"first": times[0], "again": statistics.median(times[1:])}


def measure_swap(library, folder: str, paths: list[Path]) -> dict[str, float]:
    model = library.load(folder, {})
    for name, path in zip("ab", paths, strict=False):
        model = library.add(model, path, name)
    return {"swap": statistics.median(seconds(library.activate, model, "ab"[turn % 2]) for turn in range(SWAPS))}


def measure_many(library, folder: str, paths: list[Path]) -> dict[str, float]:
    """What is imported with the first adapter, and what that needs, is not counted."""
    model = library.add(library.load(folder, {}), paths[0], "first")
    with measured() as figures:
        for number, path in enumerate(paths):
            model = library.add(model, path, str(number))
    return figures


MEASURES = {"apply": measure_apply, "swap": measure_swap, "many": measure_many}


def main() -> None:
    name, runtime, model, action, folder, adapters = sys.argv[1:]
    library = LIBRARIES[name](runtime, MODELS[model])
    if action == "write":
        library.write(folder, Path(adapters))
        return
    paths = [Path(adapters, f"{number}{library.suffix}") for number in range(COUNT)]
    print(json.dumps(MEASURES[action](library, folder, paths)))


if __name__ == "__main__":
    main()
