"""Header stubs: sparse local files with only the header of a remote file, so that its weights are not downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vertebra.errors import CacheError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

if TYPE_CHECKING:
    from vertebra._cache.cached_source import CachedSource

PREFIX = 8
"""Bytes at the start of a file that give the length of its header."""
LengthOf = Callable[[bytes], int]
"""Function from the first bytes of a file to the length of its header in bytes, as far as they tell."""


def write_header_stub(
    source: CachedSource, handle: PresetHandle, file: PresetFile, length_of: LengthOf, target: Path
) -> Path:
    """Writes the header stub of a remote file: a sparse file of the same length, with only its header.

    Reading its header gives the same result as for the whole file; on the disk, only the header takes space.

    Raises:
        CacheError: the file system of temporary files is full, or has no files of this length.
    """
    first = source.read_range(handle, file, 0, min(PREFIX, file.size))
    while (length := min(length_of(first), file.size)) > len(first):
        first += source.read_range(handle, file, len(first), length)
    try:
        with target.open("wb") as stream:
            stream.write(first)
            stream.truncate(file.size)
    except OSError as error:
        target.unlink(missing_ok=True)
        problem = f"the header of {file.name} cannot be kept in {target.parent}: {error.strerror}"
        remedy = "Free some space, or name a folder on another disk in TMPDIR"
        raise CacheError(target.parent, problem, remedy) from error
    return target
