"""Compares the two checkpoints of a preset that holds both a single weights file and shards.

The single file is the one that is read, as in transformers and KerasHub. Such presets exist because transformers,
when it saves shards, does not delete an earlier single file.
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
    """The comparison of the checkpoint that is read with the second one."""

    read: str
    """Name of the weights file that is read."""
    other: str
    """Name of the shard index that is not read; its shards are not read either."""
    newer: str | None = None
    """The name of the newer one, or None if it is unknown: the files are not in a local folder, or have the same
    modification time."""
    differing: tuple[str, ...] | None = None
    """Tensors that differ or that only one checkpoint has, or None if the checkpoints were not compared."""
    problem: str = ""
    """Why the checkpoints were not compared."""

    def __str__(self) -> str:
        newer = f"{self.newer} is newer" if self.newer else "it is unknown which is newer"
        if self.differing is None:
            same = f"they were not compared: {self.problem}"
        elif self.differing:
            more = f" and {len(self.differing) - _MOST_NAMES} more" if len(self.differing) > _MOST_NAMES else ""
            same = f"{len(self.differing)} tensors differ: {', '.join(self.differing[:_MOST_NAMES])}{more}"
        else:
            same = "both hold the same tensors"
        return f"{self.read} is read, {self.other} and its shards are not; {newer}; {same}"


def compare_checkpoints(description: PresetDescription, checkpoint: Checkpoint) -> Comparison | None:
    """Compares the checkpoint that is read with a second one in the same preset; reads every byte of both.

    Returns:
        The comparison, or None if there is no second checkpoint.
    """
    kind, folder, other = description.files, description.folder, description.not_read
    if other is None:
        return None
    names = folder.names - {kind.weights}
    try:
        shards = kind.find(names, folder.fetch, folder.check_read).shards
        newer = _newer(description, other, shards)
        absent = [name for name in shards if not folder.is_local(name)]
        if absent:
            return Comparison(kind.weights, other, newer, problem=f"{absent[0]} is not on this machine")
        second = open_checkpoint(kind, names, folder.fetch, folder.fetch_all, folder.check_read)
        second.header.check(second.header.disputes)
    except WeightsFileError as error:
        return Comparison(kind.weights, other, problem=str(error))
    return Comparison(kind.weights, other, newer, tuple(_differing(checkpoint, second)))


def _newer(description: PresetDescription, other: str, shards: Iterable[str]) -> str | None:
    weights = description.files.weights
    one = description.folder.changed_at([weights])
    two = description.folder.changed_at([other, *shards])
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
