"""Subfolders that hold what a folder itself lacks, such as checkpoints of a training run: words for messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from vertebra._resolve.preset_folder import PresetFolder
from vertebra.errors import VertebraError
from vertebra.handles import PresetHandle

_MOST_NAMED = 5


def newest_first(name: str) -> tuple[tuple[int, str], ...]:
    """Returns a sort key by which `checkpoint-1000` comes before `checkpoint-500`."""
    pieces = re.findall(r"(\d+)|(\D+)", name)
    return tuple((-int(digits), "") if digits else (0, text) for digits, text in pieces)


def named_subfolders(folder: PresetFolder, kind: str, found: Iterable[str]) -> tuple[str, list[PresetHandle]]:
    """Returns words that name the first of the subfolders, newest first, and their handles.

    Args:
        folder: The folder.
        kind: What the subfolders hold, such as `presets`.
        found: The names of the subfolders.

    Returns:
        The words, and the handles; without any if the source has no handles of folders, as the words say then.
    """
    names = sorted(found, key=newest_first)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    words = f"there are {kind} in its subfolders {', '.join(names[:_MOST_NAMED])}{more}"
    try:
        handles = [_handle_of(folder, name) for name in names[:_MOST_NAMED]]
    except VertebraError:
        return f"{words}; this source has no handles of folders, so publish each by itself", []
    return words, handles


def _handle_of(folder: PresetFolder, name: str) -> PresetHandle:
    """Returns the handle of a subfolder; raises VertebraError if the source has no handles of folders."""
    handle = replace(folder.located, path=f"{folder.located.path}/{name}")
    folder.source.unpinned(handle)
    return handle
