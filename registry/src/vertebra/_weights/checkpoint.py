"""A checkpoint: the tensors of one weights file, or of the shards that an index names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._system.file_identity import Identity
from vertebra._weights.file_kind import Check, Fetch, FetchAll, FileKind, MappedFile, WeightsFiles, accept
from vertebra._weights.tensor_entry import Header, TensorEntry
from vertebra.errors import WeightsFileError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class CheckpointHeader:
    """The headers of a checkpoint's files, and what its index says."""

    path: Path
    """The path of the weights file, or of the shard index."""
    files: dict[str, Header]
    """Headers of the files, by file name."""
    entries: dict[str, TensorEntry]
    """All tensors by name."""
    metadata: dict[str, str]
    """The metadata of the index and of all files."""
    disputes: dict[str, str]
    """Keys about which the index and the shards disagree, or two shards, with the reason."""

    def check(self, keys: Collection[str]) -> None:
        """Raises WeightsFileError if there is a dispute about one of the keys."""
        reason = next((reason for key, reason in self.disputes.items() if key in keys), None)
        if reason is not None:
            raise WeightsFileError(self.path, reason)


class Checkpoint:
    """All tensors of a preset, by name, each viewed in the file that holds it."""

    def __init__(self, header: CheckpointHeader, files: Mapping[str, MappedFile]) -> None:
        self.header, self.path, self.entries = header, header.path, header.entries
        self._files = {name: mapped for mapped in files.values() for name in mapped.header.entries}

    def view(self, name: str) -> np.ndarray[Any, Any]:
        """Returns a writable array over a tensor's bytes; writing to it never reaches the file."""
        return self._files[name].view(name)

    def identity(self, name: str) -> Identity | None:
        """Returns the identity of the file that holds a tensor, if it is known."""
        return self._files[name].header.identity

    def release(self, name: str) -> None:
        """Frees the memory pages of the file that holds a tensor, as far as they were only read."""
        self._files[name].release()


def open_checkpoint(
    kind: FileKind,
    names: set[str],
    fetch: Fetch,
    fetch_all: FetchAll | None = None,
    check: Check = accept,
    copy: bool = False,
) -> Checkpoint:
    """Maps the weights of a preset folder, or copies them into memory.

    Args:
        kind: The kind of weights file.
        names: Names of the preset's files.
        fetch: Returns the local path of one file.
        fetch_all: Returns the local paths of several files; None means to call `fetch` for each.
        check: Called with the identity of the index, and of each weights file once it is mapped.
        copy: Whether to copy the files instead of mapping them.

    Raises:
        WeightsFileError: the weights are missing or unsound.
    """
    found = kind.find(names, fetch, check)
    paths = [fetch(name) for name in found.shards] if fetch_all is None else fetch_all(list(found.shards))
    files = dict(zip(found.shards, kind.map(paths, copy), strict=True))
    return Checkpoint(_header(kind, found, {name: mapped.header for name, mapped in files.items()}, check), files)


def read_headers(
    kind: FileKind,
    names: set[str],
    fetch: Fetch,
    fetch_headers: FetchAll | None = None,
    check: Check = accept,
) -> CheckpointHeader:
    """Reads only the headers of a preset's weights files.

    Args:
        kind: The kind of weights file.
        names: Names of the preset's files.
        fetch: Returns the local path of one file.
        fetch_headers: Returns the paths of files or of header stubs; None means to call `fetch` for each.
        check: Called with the identity of the index, and of each weights file, once it is read.

    Raises:
        WeightsFileError: the weights are missing or unsound.
    """
    headers_of = fetch_headers or (lambda names: [fetch(name) for name in names])
    found = kind.find(names, lambda name: fetch(name) if name == kind.index else headers_of([name])[0], check)
    headers = dict(zip(found.shards, kind.headers(headers_of(list(found.shards))), strict=True))
    return _header(kind, found, headers, check)


def _header(kind: FileKind, found: WeightsFiles, headers: dict[str, Header], check: Check) -> CheckpointHeader:
    for name, header in headers.items():
        check(name, header.identity)
    entries = {name: entry for header in headers.values() for name, entry in header.entries.items()}
    metadata = dict(found.metadata)
    for header in headers.values():
        metadata |= header.metadata
    return CheckpointHeader(found.path, headers, entries, metadata, _disputes(kind, found, headers))


def _disputes(kind: FileKind, found: WeightsFiles, headers: Mapping[str, Header]) -> dict[str, str]:
    """Returns the keys that are not in the shard that the index names, or in two shards, with the reason."""
    disputes: dict[str, str] = {}
    shard_of: dict[str, str] = {}
    for shard, expected in found.shards.items():
        keys = {name: kind.indexed_as(name) for name in headers[shard].entries}
        differ = set() if expected is None else set(keys.values()) ^ expected
        disputes |= {key: f"the index and the shard {shard!r} disagree about {key}" for key in sorted(differ)}
        for name, key in keys.items():
            if shard_of.setdefault(name, shard) != shard:
                disputes[key] = f"the shards {shard_of[name]!r} and {shard!r} both hold {name!r}"
    return disputes
