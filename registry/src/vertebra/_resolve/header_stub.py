"""Beginnings of files that are elsewhere: headers are read without the weights that follow them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

if TYPE_CHECKING:
    from vertebra._cache.cached_source import CachedSource

FIRST = 8
"""Bytes that say how long a beginning is."""
LengthOf = Callable[[bytes], int]
"""From the first bytes of a file to how many there are of its beginning."""


def write_header_stub(
    source: CachedSource, handle: PresetHandle, file: PresetFile, length_of: LengthOf, target: Path
) -> Path:
    """Writes a file with the beginning and the length of one that is elsewhere, and nothing in between.

    Whoever reads headers finds what the whole file would show; it takes the beginning's room on the disk.
    """
    first = source.read_range(handle, file, 0, min(FIRST, file.size))
    length = min(length_of(first), file.size)
    rest = source.read_range(handle, file, len(first), length) if length > len(first) else b""
    with target.open("wb") as stream:
        stream.write(first + rest)
        stream.truncate(file.size)
    return target
