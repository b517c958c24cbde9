"""Refs, the records "handle → pinned handle": a ref is used only if both handles are of the same preset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vertebra.handles import PresetHandle
from vertebra.interfaces import PresetSource

IsRevision = Callable[[PresetHandle, PresetHandle], bool]
"""Returns whether the first handle, a pinned one, is a revision of the preset that the second one names."""


def is_revision(source: PresetSource, pinned: PresetHandle, handle: PresetHandle) -> bool:
    """Returns whether a pinned handle is a revision of the preset that another handle of the same source names."""
    try:
        if source.is_pinned(handle):
            return pinned == handle
        return source.is_pinned(pinned) and source.unpinned(pinned) == source.unpinned(handle)
    except Exception:  # a source may reject a handle that it did not create
        return False


def warn_misnamed(kind: str, folder: Path, pinned: PresetHandle, handle: PresetHandle) -> None:
    """Warns of a ref that gives a preset the name of another preset.

    Args:
        kind: The kind of folder, such as a bundle.
        folder: The folder that has the ref.
        pinned: The pinned handle in the ref.
        handle: The handle that the ref is for.
    """
    from vertebra._system.log import log  # only needed if there is an invalid ref

    log.warning(
        "The %s %s has a ref from %s to %s. That is another preset, so the ref is ignored: "
        "find out which process or user wrote it before you use other files of that folder.",
        *(kind, folder, handle, pinned),
    )
