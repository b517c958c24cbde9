"""A checkpoint: the tensors of one weights file, or of the shards that an index names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vertebra._system.file_identity import Identity, identity_of
from vertebra._weights.files import open_file
from vertebra._weights.safetensors.format import Header, MappedTensors, TensorEntry, header_end, open_header
from vertebra._weights.shard_index import read_weight_map
from vertebra.errors import WeightsFileError

if TYPE_CHECKING:
    import numpy as np

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


class MappedFile(Protocol):
    """A weights file whose tensors are viewed in place."""

    header: Header

    def view(self, name: str) -> np.ndarray[Any, Any]:
        """Returns a writable array over a tensor's bytes; writing to it never reaches the file."""

    def release(self) -> None:
        """Gives back the memory of what was viewed and not written to."""


Fetch = Callable[[str], Path]
"""Returns the local path of a file of a preset."""
FetchAll = Callable[[Sequence[str]], Sequence[Path]]
"""Returns those of several files, which may be fetched at once."""
Check = Callable[[str, "Identity | None"], None]
"""Is told the identity of each file that was read, and raises if the preset had another file of that name."""
Shards = dict[str, "set[str] | None"]
"""Weights files by name, each with what an index says that it holds, or None without an index."""


def accept(name: str, identity: Identity | None) -> None:
    """Is the check of files that nothing replaces while they are read."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of weights file: what its files are called, and how they are indexed and mapped."""

    weights: str
    """Name of the file that holds everything."""
    index: str
    """Name of the index, where there are shards instead."""
    suffix: str
    """How the names of shards end."""
    usual_shard: re.Pattern[str]
    """Names that shards are usually given: those that are known without reading the index."""
    lists_shards: bool
    """Whether what an index calls by one name may lie in several shards."""
    indexed_as: Callable[[str], str]
    """From the name of a tensor to what an index calls it."""
    current_name: Callable[[str], str]
    """From the name of a tensor to the present one, where older files of this kind call it otherwise."""
    headers: Callable[[Sequence[Path]], list[Header]]
    header_end: Callable[[bytes], int] | None
    """From the first bytes of a file to where its header ends, or None if that is not at its beginning."""
    map: Callable[[Sequence[Path]], Sequence[MappedFile]]

    def find(self, names: set[str], fetch: Fetch, check: Check = accept) -> tuple[Path, Shards]:
        """From the names in a preset to the path to name in messages, and the weights files; reads the index alone.

        Raises:
            WeightsFileError: there are no weights, a shard is missing, or the index is unsound.
        """
        if self.weights in names:
            return fetch(self.weights), {self.weights: None}
        if self.index not in names:
            problem = f"it is missing, and so is {self.index}"
            raise WeightsFileError(self.weights, problem, "Save the preset again with its weights")
        path = fetch(self.index)
        with open_file(path) as file:
            shards: Shards = {**read_weight_map(path, file, self.suffix, self.lists_shards)}
            check(self.index, identity_of(os.fstat(file.fileno())))
        for shard in shards:
            if shard not in names:
                raise WeightsFileError(path, f"it names the shard {shard!r}, which is missing")
        return path, shards

    def not_read(self, names: set[str]) -> str | None:
        """From the names in a preset to the index of a checkpoint that is not read, because there is a single file."""
        return self.index if self.weights in names and self.index in names else None

    def used(self, names: set[str]) -> set[str]:
        """From the names in a preset to those of its weights files and their index; reads nothing."""
        if self.weights in names:
            return {self.weights}
        return {name for name in names if name == self.index or self.usual_shard.fullmatch(name)}


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


def open_checkpoint(
    kind: FileKind, names: set[str], fetch: Fetch, fetch_all: FetchAll | None = None, check: Check = accept
) -> Checkpoint:
    """Maps the weights of a preset folder.

    Args:
        kind: The kind of weights file.
        names: Files that the preset has.
        fetch: Returns the local path of one of them.
        fetch_all: Returns those of several; None means one after the other.
        check: Is told the identity of the index, and of each weights file once it is mapped.

    Raises:
        WeightsFileError: the weights are missing or unsound, or index and files disagree.
    """
    path, shards = kind.find(names, fetch, check)
    paths = [fetch(name) for name in shards] if fetch_all is None else fetch_all(list(shards))
    files = dict(zip(shards, kind.map(paths), strict=True))
    headers = {name: mapped.header for name, mapped in files.items()}
    _check_identities(headers, check)
    _check_shards(kind, path, shards, headers)
    return Checkpoint(path, files)


def read_headers(
    kind: FileKind,
    names: set[str],
    fetch: Fetch,
    fetch_headers: FetchAll | None = None,
    check: Check = accept,
) -> dict[str, Header]:
    """Reads the headers of a preset's weights files, by file name, and nothing else of them.

    Args:
        kind: The kind of weights file.
        names: Files that the preset has.
        fetch: Returns the local path of one of them.
        fetch_headers: Returns paths of files that need not have more than the headers; None means `fetch`.
        check: Is told the identity of the index, and of each weights file, once it is read.

    Raises:
        WeightsFileError: the weights are missing or unsound, or index and files disagree.
    """
    headers_of = fetch_headers or (lambda names: [fetch(name) for name in names])
    path, shards = kind.find(names, lambda name: fetch(name) if name == kind.index else headers_of([name])[0], check)
    headers = dict(zip(shards, kind.headers(headers_of(list(shards))), strict=True))
    _check_identities(headers, check)
    _check_shards(kind, path, shards, headers)
    return headers


def _check_identities(headers: Mapping[str, Header], check: Check) -> None:
    for name, header in headers.items():
        check(name, header.identity)


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


def _open_headers(paths: Sequence[Path]) -> list[Header]:
    return [open_header(path) for path in paths]


def _map(paths: Sequence[Path]) -> list[MappedTensors]:
    return [MappedTensors(path) for path in paths]


SAFETENSORS = FileKind(
    weights=WEIGHTS,
    index=INDEX,
    suffix=".safetensors",
    usual_shard=re.compile(r"model-\d{5}-of-\d{5}\.safetensors"),
    lists_shards=False,
    indexed_as=str,
    current_name=str,
    headers=_open_headers,
    header_end=header_end,
    map=_map,
)
