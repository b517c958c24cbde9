"""A checkpoint: the tensors of one weights file, or of the shards that an index names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._weights.file_kind import Check, Fetch, FetchAll, FileKind, MappedFile, Shards, accept
from vertebra._weights.tensor_entry import Header, TensorEntry
from vertebra.errors import WeightsFileError

if TYPE_CHECKING:
    import numpy as np


class Checkpoint:
    """All tensors of a preset, by name, each viewed in the file that holds it."""

    def __init__(self, path: Path, files: Mapping[str, MappedFile]) -> None:
        self.path = path
        """The path of the weights file, or of the shard index."""
        self.headers: dict[str, Header] = {name: mapped.header for name, mapped in files.items()}
        """Headers of the files, by file name."""
        self._files = {name: mapped for mapped in files.values() for name in mapped.header.entries}
        self.entries: dict[str, TensorEntry] = {
            name: entry for mapped in files.values() for name, entry in mapped.header.entries.items()
        }

    def view(self, name: str) -> np.ndarray[Any, Any]:
        """Returns a writable array over a tensor's bytes; writing to it never reaches the file."""
        return self._files[name].view(name)

    def release(self, name: str) -> None:
        """Frees the memory pages of the file that holds a tensor, as far as they were only read."""
        self._files[name].release()


def open_checkpoint(
    kind: FileKind, names: set[str], fetch: Fetch, fetch_all: FetchAll | None = None, check: Check = accept
) -> Checkpoint:
    """Maps the weights of a preset folder.

    Args:
        kind: The kind of weights file.
        names: Names of the preset's files.
        fetch: Returns the local path of one file.
        fetch_all: Returns the local paths of several files; None means to call `fetch` for each.
        check: Called with the identity of the index, and of each weights file once it is mapped.

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
    """Reads only the headers of a preset's weights files, by file name.

    Args:
        kind: The kind of weights file.
        names: Names of the preset's files.
        fetch: Returns the local path of one file.
        fetch_headers: Returns the paths of files or of header stubs; None means to call `fetch` for each.
        check: Called with the identity of the index, and of each weights file, once it is read.

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
    shard_of: dict[str, str] = {}
    for shard, expected in shards.items():
        names = headers[shard].entries.keys()
        differ = set() if expected is None else {kind.indexed_as(name) for name in names} ^ expected
        if differ:
            problem = f"the index and the shard {shard!r} disagree about {', '.join(sorted(differ)[:5])}"
            raise WeightsFileError(path, problem)
        for name in names:
            if shard_of.setdefault(name, shard) != shard:
                raise WeightsFileError(path, f"the shards {shard_of[name]!r} and {shard!r} both hold {name!r}")
