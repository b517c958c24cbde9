"""HDF5 weights as Keras writes them: one file, or shards and an index that agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vertebra._documents import parse_json
from vertebra._weights.checkpoint import Fetch, FileKind, Shards, require_shards
from vertebra._weights.hdf5_mapping import MappedHdf5, open_hdf5_header
from vertebra.errors import WeightsFileError

HDF5_WEIGHTS = "model.weights.h5"
HDF5_INDEX = "model.weights.json"
_USUAL_SHARD = re.compile(r"model_\d{5}\.weights\.h5")
_SHARD = re.compile(r"[A-Za-z0-9][\w.-]*\.weights\.h5")
_USUAL_SHARD = re.compile(r"model_\d{5}\.weights\.h5")
_MOST_GROUPS = 100_000
_MOST_SHARDS = 10_000
_MOST_INDEX_BYTES = 16 * 2**20


def _find_hdf5(names: set[str], fetch: Fetch) -> tuple[Path, Shards]:
    """The index maps each group that holds datasets, such as `/layers/dense/vars`, to its shard, or to a list of
    shards if the group's datasets are in several.
    """
    if HDF5_WEIGHTS in names:
        return fetch(HDF5_WEIGHTS), {HDF5_WEIGHTS: None}
    if HDF5_INDEX not in names:
        raise WeightsFileError(
            HDF5_WEIGHTS, f"it is missing, and so is {HDF5_INDEX}", "Save the preset again with its weights"
        )
    path = fetch(HDF5_INDEX)
    found: Shards = dict(sorted(_read_index(path).items()))
    require_shards(path, found, names)
    return path, found


def _group(dataset: str) -> str:
    return dataset.rpartition("/")[0]


def _read_index(path: Path) -> dict[str, set[str]]:
    """Returns, for each shard, the groups that the index says it holds."""
    size = path.stat().st_size
    if size > _MOST_INDEX_BYTES:
        raise WeightsFileError(path, f"it has {size} bytes; an index has at most {_MOST_INDEX_BYTES}")
    index = parse_json(path.read_bytes(), lambda problem: WeightsFileError(path, f"it is unsound: {problem}"))
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not 0 < len(weight_map) <= _MOST_GROUPS:
        raise WeightsFileError(path, f"its weight_map is not a table of up to {_MOST_GROUPS} groups and files")
    groups: dict[str, set[str]] = {}
    for group, value in weight_map.items():
        for shard in _shards(path, group, value):
            groups.setdefault(shard, set()).add(group.removeprefix("/"))
    if len(groups) > _MOST_SHARDS:
        raise WeightsFileError(path, f"it names more than {_MOST_SHARDS} shards")
    return groups


def _shards(path: Path, group: str, value: Any) -> list[str]:
    shards = value if isinstance(value, list) else [value]
    plain = [shard for shard in shards if isinstance(shard, str) and _SHARD.fullmatch(shard)]
    if not group.startswith("/") or not plain or len(plain) < len(shards) or len(set(plain)) < len(plain):
        expected = "expected a path from / in a plain name *.weights.h5, or in a list of different ones"
        raise WeightsFileError(path, f"group {group!r} is in {value!r}, {expected}")
    return plain


def _used(names: set[str]) -> set[str]:
    if HDF5_WEIGHTS in names:
        return {HDF5_WEIGHTS}
    return {name for name in names if name == HDF5_INDEX or _USUAL_SHARD.fullmatch(name)}


HDF5 = FileKind(_find_hdf5, _group, _used, open_hdf5_header, MappedHdf5)
