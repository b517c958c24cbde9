"""A preset with two checkpoints, a single file and shards: which of them is read, and how the other compares.

The single file is read, as transformers and KerasHub read their own formats. A sharded save of transformers leaves an
earlier single file where it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vertebra._formats.description import PresetDescription
from vertebra._weights.checkpoint import Checkpoint, open_checkpoint
from vertebra.errors import WeightsFileError

if TYPE_CHECKING:
    import numpy as np

_AT_ONCE = 2**22
"""Bytes that are compared at once."""
_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the checkpoint of a preset that is read compares with the other one."""

    read: str
    """Name of the file that is read."""
    other: str
    """Name of the index that is not read, nor are its shards."""
    newer: str | None = None
    """Which of the two was changed last, or None if that cannot be told: their files do not lie in a folder of this
    machine, or have the same time."""
    differing: tuple[str, ...] | None = None
    """Tensors that are not the same in both, or None if they were not compared."""
    problem: str = ""
    """Why they were not compared."""

    def __str__(self) -> str:
        newer = f"{self.newer} was changed last" if self.newer else "which was changed last cannot be told"
        if self.differing is None:
            same = f"they were not compared: {self.problem}"
        elif self.differing:
            more = f" and {len(self.differing) - _MOST_NAMES} more" if len(self.differing) > _MOST_NAMES else ""
            same = f"{len(self.differing)} tensors differ: {', '.join(self.differing[:_MOST_NAMES])}{more}"
        else:
            same = "both hold the same tensors"
        return f"{self.read} is read, {self.other} and its shards are not; {newer}; {same}"


def compare_checkpoints(contents: PresetDescription, checkpoint: Checkpoint) -> Comparison | None:
    """Compares the checkpoint that is read with another one in the same preset; reads all of both.

    Returns:
        None if there is no other.
    """
    kind, folder, other = contents.files, contents.folder, contents.not_read
    if other is None:
        return None
    names = folder.names - {kind.weights}
    try:
        _, shards = kind.find(names, folder.fetch, folder.check_read)
        newer = _newer(contents, other, shards)
        absent = [name for name in shards if not folder.is_local(name)]
        if absent:
            return Comparison(kind.weights, other, newer, problem=f"{absent[0]} is not on this machine")
        second = open_checkpoint(kind, names, folder.fetch, folder.fetch_all, folder.check_read)
    except WeightsFileError as error:
        return Comparison(kind.weights, other, problem=str(error))
    return Comparison(kind.weights, other, newer, tuple(_differing(checkpoint, second)))


def _newer(contents: PresetDescription, other: str, shards: Iterable[str]) -> str | None:
    weights = contents.files.weights
    one = contents.folder.changed_at([weights])
    two = contents.folder.changed_at([other, *shards])
    if one is None or two is None or one == two:
        return None
    return weights if one > two else other


def _differing(one: Checkpoint, other: Checkpoint) -> list[str]:
    differing = [name for name in {**one.entries, **other.entries} if not _is_same(name, one, other)]
    return sorted(differing)


def _is_same(name: str, one: Checkpoint, other: Checkpoint) -> bool:
    if name not in one.entries or name not in other.entries:
        return False
    first, second = one.entries[name], other.entries[name]
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    same = _has_same_bytes(one.view(name), other.view(name))
    one.release(name)
    other.release(name)
    return same


def _has_same_bytes(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    import numpy as np

    first, second = (array.reshape(-1).view(np.uint8) for array in (one, other))
    pieces = (slice(start, start + _AT_ONCE) for start in range(0, first.size, _AT_ONCE))
    return all(np.array_equal(first[piece], second[piece]) for piece in pieces)
