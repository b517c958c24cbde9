"""A checkpoint: the tensors of one weights file, or of the shards that an index names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vertebra._documents import parse_json
from vertebra._weights.safetensors import Header, MappedTensors, TensorEntry, open_header
from vertebra.errors import WeightsFileError

if TYPE_CHECKING:
    import numpy as np

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"[A-Za-z0-9][\w.-]*\.safetensors")
_USUAL_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_MOST_SHARDS = 10_000
_MOST_INDEX_BYTES = 16 * 2**20


class MappedFile(Protocol):
    """A weights file whose tensors are viewed in place."""

    header: Header

    def view(self, name: str) -> np.ndarray[Any, Any]:
        """Returns a writable array over a tensor's bytes; writing to it never reaches the file."""

    def release(self) -> None:
        """Gives back the memory of what was viewed and not written to."""


Fetch = Callable[[str], Path]
"""Returns the local path of a file of a preset."""
Shards = dict[str, "set[str] | None"]
"""Weights files by name, each with what an index says that it holds, or None without an index."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of weights file: how its files are found, indexed and mapped."""

    find: Callable[[set[str], Fetch], tuple[Path, Shards]]
    """From the names in a preset to the path to name in messages, and the weights files; reads the index alone."""
    indexed_as: Callable[[str], str]
    """From the name of a tensor to what an index calls it."""
    used: Callable[[set[str]], set[str]]
    """From the names in a preset to those of its weights files and their index; reads nothing."""
    header: Callable[[Path], Header]
    map: Callable[[Path], MappedFile]


class Checkpoint:
    """All tensors of a preset, by name, each viewed in the file that holds it."""

    def __init__(self, path: Path, files: Mapping[str, MappedFile]) -> None:
        self.path = path
        """The file, or the index."""
        self._files = {name: mapped for mapped in files.values() for name in mapped.header.entries}
        self.entries: dict[str, TensorEntry] = {
            name: entry for mapped in files.values() for name, entry in mapped.header.entries.items()
        }

    def view(self, name: str) -> np.ndarray[Any, Any]:
        """Returns a writable array over a tensor's bytes; writing to it never reaches the file."""
        return self._files[name].view(name)

    def release(self, name: str) -> None:
        """Gives back the memory of what was viewed, and not written to, in the file that holds a tensor."""
        self._files[name].release()


def open_checkpoint(kind: FileKind, names: set[str], fetch: Fetch) -> Checkpoint:
    """Maps the weights of a preset folder.

    Args:
        kind: The kind of weights file.
        names: Files that the preset has.
        fetch: Returns the local path of one of them.

    Raises:
        WeightsFileError: the weights are missing or unsound, or index and files disagree.
    """
    path, shards = kind.find(names, fetch)
    files = {name: kind.map(fetch(name)) for name in shards}
    _check_shards(kind, path, shards, {name: mapped.header for name, mapped in files.items()})
    return Checkpoint(path, files)


def read_headers(kind: FileKind, names: set[str], fetch: Fetch) -> dict[str, Header]:
    """Reads the headers of a preset's weights files, by file name, and nothing else of them.

    Raises:
        WeightsFileError: the weights are missing or unsound, or index and files disagree.
    """
    path, shards = kind.find(names, fetch)
    headers = {name: kind.header(fetch(name)) for name in shards}
    _check_shards(kind, path, shards, headers)
    return headers


def require_shards(path: Path, shards: Shards, names: set[str]) -> None:
    """Raises an error if an index names a shard that the preset does not have."""
    for shard in shards:
        if shard not in names:
            raise WeightsFileError(path, f"it names the shard {shard!r}, which is missing")


def _check_shards(kind: FileKind, path: Path, shards: Shards, headers: Mapping[str, Header]) -> None:
    homes: dict[str, str] = {}
    for shard, expected in shards.items():
        held = headers[shard].entries.keys()
        differ = set() if expected is None else {kind.indexed_as(name) for name in held} ^ expected
        if differ:
            raise WeightsFileError(path, f"it and the shard {shard!r} disagree about {', '.join(sorted(differ)[:5])}")
        for name in held:
            if homes.setdefault(name, shard) != shard:
                raise WeightsFileError(path, f"the shards {homes[name]!r} and {shard!r} both hold {name!r}")


def _find_safetensors(names: set[str], fetch: Fetch) -> tuple[Path, Shards]:
    if WEIGHTS in names:
        return fetch(WEIGHTS), {WEIGHTS: None}
    if INDEX not in names:
        raise WeightsFileError(WEIGHTS, f"it is missing, and so is {INDEX}", "Save the preset again with its weights")
    path = fetch(INDEX)
    shards: dict[str, set[str]] = {}
    for tensor, shard in _read_index(path).items():
        shards.setdefault(shard, set()).add(tensor)
    found: Shards = dict(sorted(shards.items()))
    require_shards(path, found, names)
    return path, found


def _read_index(path: Path) -> dict[str, str]:
    size = path.stat().st_size
    if size > _MOST_INDEX_BYTES:
        raise WeightsFileError(path, f"it has {size} bytes; an index has at most {_MOST_INDEX_BYTES}")
    index = parse_json(path.read_bytes(), lambda problem: WeightsFileError(path, f"it is unsound: {problem}"))
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsFileError(path, "its weight_map is not a table of tensor names and files")
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise WeightsFileError(path, f"tensor {tensor!r} is in {shard!r}, expected a plain name *.safetensors")
    if len(set(weight_map.values())) > _MOST_SHARDS:
        raise WeightsFileError(path, f"it names more than {_MOST_SHARDS} shards")
    return weight_map


def _used(names: set[str]) -> set[str]:
    if WEIGHTS in names:
        return {WEIGHTS}
    return {name for name in names if name == INDEX or _USUAL_SHARD.fullmatch(name)}


SAFETENSORS = FileKind(_find_safetensors, str, _used, open_header, MappedTensors)
