"""Reads the shard index of a checkpoint: the map from tensors to shards, and its metadata."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vertebra._system.strict_json import parse_json
from vertebra.errors import WeightsFileError

_STEM = re.compile(r"[A-Za-z0-9][\w.-]*")
_MOST_BYTES = 16 * 2**20
_MOST_NAMES = 500_000
_MOST_SHARDS = 10_000


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """The content of a shard index."""

    shards: dict[str, set[str]]
    """The keys of each shard, sorted by the names of the shards."""
    metadata: dict[str, str]
    """The texts in its metadata; other values, such as sizes, are left out."""


def read_index(path: Path, file: BinaryIO, suffix: str, lists: bool) -> ShardIndex:
    """Reads an index.

    Args:
        path: The path of the index, for messages.
        file: The open index: a JSON object whose `weight_map` has a shard for each key.
        suffix: The suffix of shard names, such as `.safetensors`.
        lists: Whether a key may have a list of shards instead of one.

    Raises:
        WeightsFileError: the index is unsound, or a shard's name is not a plain file name.
    """
    keys: dict[str, set[str]] = {}
    index = _read_object(path, file)
    for key, value in _table(path, index).items():
        for shard in _shards(path, key, value, suffix, lists):
            keys.setdefault(shard, set()).add(key)
    if len(keys) > _MOST_SHARDS:
        raise WeightsFileError(path, f"it names {len(keys)} shards; at most {_MOST_SHARDS} are read")
    metadata = index.get("metadata")
    texts = metadata.items() if isinstance(metadata, dict) else ()
    return ShardIndex(dict(sorted(keys.items())), {name: text for name, text in texts if isinstance(text, str)})


def _read_object(path: Path, file: BinaryIO) -> dict[str, Any]:
    size = os.fstat(file.fileno()).st_size
    if size > _MOST_BYTES:
        raise WeightsFileError(path, f"it has {size} bytes; an index has at most {_MOST_BYTES}")
    return parse_json(file.read(size), lambda problem: WeightsFileError(path, f"it is unsound: {problem}"))


def _table(path: Path, index: dict[str, Any]) -> dict[str, Any]:
    table = index.get("weight_map")
    if not isinstance(table, dict) or not 0 < len(table) <= _MOST_NAMES:
        raise WeightsFileError(path, f"its weight_map is not a table of 1 to {_MOST_NAMES} names and shards")
    return table


def _shards(path: Path, name: str, value: Any, suffix: str, lists: bool) -> list[str]:
    shards = value if lists and isinstance(value, list) else [value]
    plain = {shard for shard in shards if isinstance(shard, str) and _is_plain(shard, suffix)}
    if not plain or len(plain) < len(shards):
        expected = f"expected a file name *{suffix}" + (" or a list of different ones" if lists else "")
        raise WeightsFileError(path, f"its weight_map has {value!r} for {name!r}, {expected}")
    return shards


def _is_plain(shard: str, suffix: str) -> bool:
    return shard.endswith(suffix) and bool(_STEM.fullmatch(shard.removesuffix(suffix)))
