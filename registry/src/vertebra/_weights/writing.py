"""Writes weights, tensor by tensor, as one safetensors file, or as shards with an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._system.strict_json import dump_json
from vertebra._weights.safetensors.file_kind import INDEX, WEIGHTS
from vertebra._weights.safetensors.writing import write_order, write_tensors
from vertebra._weights.tensor_entry import TensorEntry

if TYPE_CHECKING:
    import numpy as np

_GIGABYTE = 10**9


@dataclass(frozen=True, slots=True)
class Tensors:
    """Tensors to be written; each array is computed when it is written, and not kept."""

    layouts: Mapping[str, TensorEntry]
    """Dtype and shape of each tensor, from `layout_of`."""
    arrays: Mapping[str, Callable[[], np.ndarray[Any, Any]]]
    """For each tensor, a function that returns its array."""


def write_safetensors(tensors: Tensors, stage: Path, max_shard_size: float | None) -> None:
    """Writes weights as one file, or as shards with an index if they are larger than `max_shard_size` gigabytes."""
    shards = split(write_order(tensors.layouts.values()), max_shard_size)
    names = [WEIGHTS] if len(shards) == 1 else [_shard_name(number, len(shards)) for number in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        inside = {entry.name: tensors.layouts[entry.name] for entry in shard}
        write_tensors(stage / name, tensors.arrays, inside, {"format": "pt"})  # transformers expects this key
    if len(shards) > 1:
        weight_map = {entry.name: name for name, shard in zip(names, shards, strict=True) for entry in shard}
        total = sum(entry.size for entry in tensors.layouts.values())
        (stage / INDEX).write_bytes(dump_json({"metadata": {"total_size": total}, "weight_map": weight_map}))


def split(entries: list[TensorEntry], max_shard_size: float | None) -> list[list[TensorEntry]]:
    """Divides tensors, in their order, into shards of at most `max_shard_size` gigabytes (10⁹ bytes)."""
    limit = float("inf") if max_shard_size is None else max_shard_size * _GIGABYTE
    shards: list[list[TensorEntry]] = [[]]
    size = 0
    for entry in entries:
        if shards[-1] and size + entry.size > limit:
            shards.append([])
            size = 0
        shards[-1].append(entry)
        size += entry.size
    return shards


def _shard_name(number: int, count: int) -> str:
    return f"model-{number + 1:05}-of-{count:05}.safetensors"
