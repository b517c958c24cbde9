"""Notes that say which pinned handle a handle means: they are used only if both are of the same preset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vertebra.handles import PresetHandle
from vertebra.interfaces import PresetSource

IsRevision = Callable[[PresetHandle, PresetHandle], bool]
"""Tells whether the first handle, a pinned one, is a revision of the preset that the second one names."""


def is_revision(source: PresetSource, pinned: PresetHandle, handle: PresetHandle) -> bool:
    """Returns whether a pinned handle is a revision of the preset that another handle of the same source names."""
    try:
        if source.is_pinned(handle):
            return pinned == handle
        return source.is_pinned(pinned) and source.unpinned(pinned) == source.unpinned(handle)
    except Exception:  # a source may refuse a handle that it did not make
        return False


def tell_misnamed(kind: str, folder: Path, pinned: PresetHandle, handle: PresetHandle) -> None:
    """Warns of a note that gives a preset the name of another one.

    Args:
        kind: What the folder is, such as a bundle.
        folder: The folder with the note.
        pinned: What the note says that the handle means.
        handle: The handle.
    """
    import logging  # only where a folder is not sound

    logging.getLogger("vertebra").warning(
        "The %s %s has a note by which %s is %s. That is another preset, so the note is not used: "
        "find out who wrote it before you use anything else of that folder.",
        *(kind, folder, handle, pinned),
    )
