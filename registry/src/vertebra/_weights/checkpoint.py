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
        """The file, or the index."""
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
