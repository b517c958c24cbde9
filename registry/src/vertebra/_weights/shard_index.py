"""The index of a checkpoint in several files: which of them holds what."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, BinaryIO

from vertebra._system.strict_json import parse_json
from vertebra.errors import WeightsFileError

_STEM = re.compile(r"[A-Za-z0-9][\w.-]*")
_MOST_BYTES = 16 * 2**20
_MOST_NAMES = 500_000
_MOST_SHARDS = 10_000


def read_weight_map(path: Path, file: BinaryIO, suffix: str, lists: bool) -> dict[str, set[str]]:
    """Reads, for each shard in the order of their names, what the index says that it holds.

    Args:
        path: The path of the index, for messages.
        file: The index: a JSON object whose `weight_map` gives a shard for each name.
        suffix: How the names of shards end, such as `.safetensors`.
        lists: Whether a name may have a list of shards instead of one.

    Raises:
        WeightsFileError: the index is unsound, or names as a shard what is no plain file name.
    """
    held: dict[str, set[str]] = {}
    for name, value in _read_table(path, file).items():
        for shard in _shards(path, name, value, suffix, lists):
            held.setdefault(shard, set()).add(name)
    if len(held) > _MOST_SHARDS:
        raise WeightsFileError(path, f"it names {len(held)} shards; at most {_MOST_SHARDS} are read")
    return dict(sorted(held.items()))


def _read_table(path: Path, file: BinaryIO) -> dict[str, Any]:
    size = os.fstat(file.fileno()).st_size
    if size > _MOST_BYTES:
        raise WeightsFileError(path, f"it has {size} bytes; an index has at most {_MOST_BYTES}")
    index = parse_json(file.read(size), lambda problem: WeightsFileError(path, f"it is unsound: {problem}"))
    table = index.get("weight_map")
    if not isinstance(table, dict) or not 0 < len(table) <= _MOST_NAMES:
        raise WeightsFileError(path, f"its weight_map is not a table of 1 to {_MOST_NAMES} names and files")
    return table


def _shards(path: Path, name: str, value: Any, suffix: str, lists: bool) -> list[str]:
    shards = value if lists and isinstance(value, list) else [value]
    plain = {shard for shard in shards if isinstance(shard, str) and _is_plain(shard, suffix)}
    if not plain or len(plain) < len(shards):
        expected = f"expected a plain name *{suffix}" + (" or a list of different ones" if lists else "")
        raise WeightsFileError(path, f"{name!r} is in {value!r}, {expected}")
    return shards


def _is_plain(shard: str, suffix: str) -> bool:
    return shard.endswith(suffix) and bool(_STEM.fullmatch(shard.removesuffix(suffix)))
