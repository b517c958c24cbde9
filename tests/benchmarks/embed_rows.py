"""Embeds texts with MiniLM and a hundred adapters, a random one for each text; prints its figures as JSON.

    python embed_rows.py FOLDER COUNT

The figures: texts per second with one adapter for all texts and with one for each, in turn, and the median of their
ratios.
"""

import json
import random
import statistics
import sys
import time
from pathlib import Path

ADAPTERS, RANK, TURNS = 100, 8, 3


def main() -> None:
    folder, count = sys.argv[1], int(sys.argv[2])
    embedder, draw = with_adapters(folder), random.Random(0)
    texts = json.loads((Path(folder).parent / "texts.json").read_text(encoding="utf-8"))[:count]
    choices = {"one": str(draw.randrange(ADAPTERS)), "each": [str(draw.randrange(ADAPTERS)) for _ in texts]}
    for names in choices.values():  # warms up: each shape is compiled once where the runtime compiles
        embedder.embed(texts, adapters=names)
    turns = [{name: seconds(embedder, texts, names) for name, names in choices.items()} for _ in range(TURNS)]
    rates = {name: count / statistics.median(turn[name] for turn in turns) for name in choices}
    print(json.dumps(rates | {"ratio": statistics.median(turn["one"] / turn["each"] for turn in turns)}))


def with_adapters(folder):
    """Returns an embedder with adapters of random values."""
    import numpy as np

    import vertebra

    embedder, draws = vertebra.models.TextEmbedder.from_preset(folder), np.random.default_rng(0)
    for number in range(ADAPTERS):
        embedder.enable_lora(RANK, name=str(number))
        for variable in embedder.backbone.trainable_variables:
            variable.assign(draws.normal(0, 0.02, variable.shape))
    return embedder


def seconds(embedder, texts, names) -> float:
    start = time.perf_counter()
    embedder.embed(texts, adapters=names)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
