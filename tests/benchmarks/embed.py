"""One side of the benchmark of embedding: embeds texts, and prints its figures as JSON.

    python embed.py vertebra|sentence_transformers|kerashub FOLDER COUNT

The figures: seconds from the start of the process to the first vector, and texts per second after that.
"""

import json
import os
import sys
import time
from pathlib import Path

BATCH = 32


def main() -> None:
    side, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    embed = SIDES[side](folder)
    embed(["eating food"])
    first = time.time() - began()
    texts = json.loads((Path(folder).parent / "texts.json").read_text(encoding="utf-8"))[:count]
    embed(texts[: min(count, 512)])  # warms up: each shape is compiled once where the runtime compiles
    start = time.perf_counter()
    embed(texts)
    print(json.dumps({"first": first, "rate": count / (time.perf_counter() - start)}))


def began() -> float:
    """Returns the time at which this process was started."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    up = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")


def vertebra(folder):
    import vertebra

    embedder = vertebra.models.TextEmbedder.from_preset(folder)
    return lambda texts: embedder.embed(texts, batch_size=BATCH)


def sentence_transformers(folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder)
    return lambda texts: model.encode(texts, batch_size=BATCH)


def kerashub(folder):
    import keras_hub

    embedder = keras_hub.models.TextEmbedder.from_preset(folder)
    return lambda texts: embedder.predict(texts, batch_size=BATCH, verbose=0)


SIDES = {"vertebra": vertebra, "sentence_transformers": sentence_transformers, "kerashub": kerashub}

if __name__ == "__main__":
    main()
