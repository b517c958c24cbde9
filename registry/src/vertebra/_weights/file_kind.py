"""The interface of weights file kinds: file names, shard index, headers and mapping."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from vertebra._system.file_identity import Identity, identity_of
from vertebra._weights.files import open_file
from vertebra._weights.shard_index import read_index
from vertebra._weights.tensor_entry import Header
from vertebra.errors import WeightsNotFoundError

if TYPE_CHECKING:
    import numpy as np


class MappedFile(Protocol):
    """A weights file whose tensors are viewed in place, or in a copy of it in memory."""

    header: Header

    def view(self, name: str) -> np.ndarray[Any, Any]:
        """Returns a writable array over a tensor's bytes; writing to it never reaches the file."""

    def release(self) -> None:
        """Frees the memory pages that were only read."""


Fetch = Callable[[str], Path]
"""Returns the local path of a file of a preset."""


FetchAll = Callable[[Sequence[str]], Sequence[Path]]
"""Returns the local paths of several files, which may be fetched in parallel."""


Check = Callable[[str, "Identity | None"], None]
"""Called with the name and identity of each file that was read; raises if the file was replaced since it was listed."""


Shards = dict[str, "set[str] | None"]
"""Weights files by name, each with its keys in the shard index, or None without an index."""


@dataclass(frozen=True, slots=True)
class WeightsFiles:
    """The weights files of a checkpoint."""

    path: Path
    """The path of the weights file or of the index, for messages."""
    shards: Shards
    metadata: dict[str, str] = field(default_factory=dict)
    """The texts in the metadata of the index."""


def accept(name: str, identity: Identity | None) -> None:
    """Accepts every file: the `Check` for files that no process replaces while they are read."""


class FileKind(ABC):
    """A kind of weights file: its file names, its shard index, and reading its headers and tensors.

    Args:
        weights: Name of the file that holds all tensors of an unsharded checkpoint.
        index: Name of the shard index.
        shards: Names of shards that are read without an index.
    """

    suffix: ClassVar[str]
    """Suffix of the names of shards."""
    usual_shard: ClassVar[re.Pattern[str]]
    """Pattern of the usual shard names, to recognise shards without reading the index."""
    lists_shards: ClassVar[bool]
    """Whether a key of the index may have a list of shards."""
    header_comes_first: ClassVar[bool] = False
    """Whether the header is at the beginning of a file, so that a remote header can be read without the tensors."""

    def __init__(self, weights: str, index: str, shards: Sequence[str] = ()) -> None:
        self.weights, self.index, self.shards = weights, index, tuple(shards)

    @abstractmethod
    def indexed_as(self, tensor: str) -> str:
        """Returns the key of a tensor in the shard index."""

    @abstractmethod
    def current_name(self, tensor: str) -> str:
        """Returns the present name of a tensor, which older files of this kind may have under another name."""

    def header_end(self, first: bytes) -> int:
        """Returns the offset of a header's end, from the file's first bytes; for kinds whose `header_comes_first`."""
        raise NotImplementedError

    @abstractmethod
    def headers(self, paths: Sequence[Path]) -> list[Header]:
        """Reads only the headers of files."""

    @abstractmethod
    def map(self, paths: Sequence[Path], copy: bool = False) -> Sequence[MappedFile]:
        """Maps files, so that their tensors are viewed in place; or copies them into memory."""

    def notes(self, metadata: Mapping[str, str]) -> list[str]:
        """Returns how the files were read, where it may not be expected, from the metadata of their headers."""
        return []

    def find(self, names: set[str], fetch: Fetch, check: Check = accept) -> WeightsFiles:
        """Finds a preset's weights files among the names of its files; reads only the index.

        Raises:
            WeightsNotFoundError: there are no weights, or a shard is missing.
            WeightsFileError: the index is unsound.
        """
        if self.shards:
            return WeightsFiles(fetch(self.shards[0]), dict.fromkeys(self.shards))
        if self.weights in names:
            return WeightsFiles(fetch(self.weights), {self.weights: None})
        if self.index not in names:
            raise WeightsNotFoundError(self.weights, f"it is missing, and so is {self.index}")
        path = fetch(self.index)
        with open_file(path) as file:
            index = read_index(path, file, self.suffix, self.lists_shards)
            check(self.index, identity_of(os.fstat(file.fileno())))
        for shard in index.shards:
            if shard not in names:
                raise WeightsNotFoundError(path, f"it names the shard {shard!r}, which is missing")
        return WeightsFiles(path, {**index.shards}, index.metadata)

    def not_read(self, names: set[str]) -> str | None:
        """Returns the index of a second checkpoint, which is not read because there is a single file, or None."""
        return self.index if self.weights in names and self.index in names else None

    def used(self, names: set[str]) -> set[str]:
        """Returns the weights files and their index among the names of a preset's files; reads no file."""
        if self.shards:
            return set(self.shards)
        if self.weights in names:
            return {self.weights}
        return {name for name in names if name == self.index or self.usual_shard.fullmatch(name)}
