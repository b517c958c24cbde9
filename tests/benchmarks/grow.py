"""Costs of one process that must not grow, or not faster than what causes them.

usage: grow.py RUNTIME loads|swaps FOLDER COUNT...    or    grow.py RUNTIME compiling LAYERS...

`loads` loads the tiny model as often as the largest COUNT, and `swaps` goes from one of two adapters to the other: each
prints, as JSON, the memory that no file backs, in MiB, after each COUNT, and the seconds of a call until then.
`compiling` prints the seconds of the first call of a compiled BERT with each number of layers.
"""

import gc
import json
import sys
import tempfile
import time
from pathlib import Path

from libraries import Vertebra, complete, seconds
from models import TINY
from usage import anonymous_mb

WIDTH = 64


def repeat(call, counts: list[int]) -> dict:
    """Returns the memory after each count of calls, without what only Python's collector has to free, and the time."""
    memory, start = [], time.perf_counter()
    for number in range(1, max(counts) + 1):
        call(number)
        if number in counts:
            gc.collect()
            memory.append(anonymous_mb())
    return {"memory": memory, "seconds": (time.perf_counter() - start) / max(counts)}


def loads(runtime: str, folder: str, *counts: str) -> dict:
    library = Vertebra(runtime, TINY)
    return repeat(lambda _: library.load(folder, {}), [int(count) for count in counts])


def swaps(runtime: str, folder: str, *counts: str) -> dict:
    library = Vertebra(runtime, TINY)
    backbone, other = library.load(folder, {}), library.load(folder, {})
    other.enable_lora(4)
    with tempfile.TemporaryDirectory() as adapters:
        path = Path(adapters, "adapter.safetensors")
        other.save_lora_weights(path)
        for name in ("even", "odd"):
            backbone.load_lora_weights(path, name=name)
    return repeat(lambda number: backbone.activate_lora(("even", "odd")[number % 2]), [int(count) for count in counts])


def compiling(runtime: str, *layers: str) -> dict:
    library = Vertebra(runtime, TINY)
    compile_seconds(library, 1)  # imports what only compiling needs
    return {number: compile_seconds(library, int(number)) for number in layers}


def compile_seconds(library: Vertebra, layers: int) -> float:
    """Returns the seconds of the first call of a compiled BERT."""
    import numpy as np

    import vertebra

    sizes = {"hidden_dim": WIDTH, "num_heads": 2, "intermediate_dim": 2 * WIDTH, "vocabulary_size": 1000}
    backbone = library.models.BertBackbone(**sizes, num_layers=layers)
    tokens = np.ones((1, 8), "int32")
    inputs = {"token_ids": tokens, "padding_mask": tokens, "segment_ids": 0 * tokens}
    return seconds(complete, vertebra.compile(backbone), inputs)


def main() -> None:
    runtime, action, *arguments = sys.argv[1:]
    print(json.dumps({"loads": loads, "swaps": swaps, "compiling": compiling}[action](runtime, *arguments)))


if __name__ == "__main__":
    main()
