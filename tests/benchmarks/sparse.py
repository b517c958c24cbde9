"""Presets of any size in files without contents: headers and lengths are real, and no block is on the disk.

usage: sparse.py FOLDER DTYPE SHARD_GB, where SHARD_GB may be `null`; the constructor's arguments, as JSON, on stdin.
"""

import json
import math
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

ALIGNMENT = 64
CODES = {"float32": "F32", "bfloat16": "BF16"}


def write_sparse(folder: Path, arguments: dict, dtype: str, shard_gb: float | None) -> None:
    """Writes a native preset of a Gemma whose weights are all zeros."""
    write_files(folder, "GemmaBackbone", arguments, _shapes(arguments), dtype, shard_gb)


def write_files(
    folder: Path, backbone: str, arguments: dict, shapes: dict[str, tuple], dtype: str, shard_gb: float | None
) -> None:
    """Writes a native preset of any architecture, whose weights have these shapes and are all zeros."""
    from vertebra._weights.writing import split

    itemsize = 4 if dtype == "float32" else 2
    entries = [
        SimpleNamespace(name=name, shape=list(shape), size=math.prod(shape) * itemsize)
        for name, shape in shapes.items()
    ]
    shards = split(entries, shard_gb)
    folder.mkdir(parents=True)
    names = [f"model-{n + 1:05}-of-{len(shards):05}.safetensors" for n in range(len(shards))]
    names = names if len(shards) > 1 else ["model.safetensors"]
    for name, shard in zip(names, shards, strict=True):
        _write_file(folder / name, shard, CODES[dtype])
    weight_map = {entry.name: name for name, shard in zip(names, shards, strict=True) for entry in shard}
    if len(shards) > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    config = {"vertebra_format": 1, "backbone": backbone, "config": arguments}
    (folder / "config.json").write_text(json.dumps(config))


def _shapes(arguments: dict) -> dict[str, tuple]:
    import vertebra

    vertebra.use("torch")
    backbone_class = vertebra.models.GemmaBackbone
    from vertebra._weights.abstract import abstract_build
    from vertebra._weights.layer_paths import weight_names

    with abstract_build():
        return {name: tuple(weight.shape) for name, weight in weight_names(backbone_class(**arguments)).items()}


def _write_file(path: Path, entries: list[SimpleNamespace], code: str) -> None:
    table, end = {}, 0
    for entry in entries:
        table[entry.name] = {"dtype": code, "shape": entry.shape, "data_offsets": [end, end + entry.size]}
        end += entry.size
    header = json.dumps(table).encode()
    header += b" " * (-(8 + len(header)) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + end)


if __name__ == "__main__":
    target, dtype, shard_gb = sys.argv[1:]
    write_sparse(Path(target), json.load(sys.stdin), dtype, json.loads(shard_gb))
