"""Consistent reads: a preset may be replaced during a read, but all files that are read are of one version."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from vertebra._resolve.open import open_folder
from vertebra._resolve.preset_folder import PresetFolder
from vertebra.errors import PresetChangedError, VertebraError

T = TypeVar("T")
_ATTEMPTS = 12
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5
"""Seconds before the second attempt, and the longest pause; each pause is twice as long as the one before."""


def read_consistently(
    preset: str | Path,
    read: Callable[[PresetFolder], T],
    locked: bool | None = None,
    keys: Sequence[str | Path] | None = None,
) -> T:
    """Opens a preset and reads it; starts again if another version replaces the preset meanwhile.

    A `PresetFolder` compares each file that `read` uses with the file list from the start: so all files existed at the
    moment between the end of the listing and the first read. Presets of remote sources are pinned, and cannot change.

    Args:
        preset: The id, handle or path.
        read: Reads the files that are needed; it may be called several times. Mapped files stay as they are.
        locked: Whether the preset must match the lockfile; None means as in the settings.
        keys: The keys of which one must have signed the preset, as in `open_folder`.

    Returns:
        The result of `read`.

    Raises:
        PresetChangedError: the preset was replaced during every attempt.
        VertebraError: as for `open_folder` and `read`.
    """
    attempt, pause = 1, _FIRST_PAUSE
    while True:
        folder = None
        try:
            folder = open_folder(preset, locked, keys)
            return read(folder)
        except (VertebraError, OSError) as error:
            change = _change_behind(error, folder)
            if change is None or (change is error and attempt == _ATTEMPTS):
                raise
            if attempt == _ATTEMPTS:
                raise change from error
        time.sleep(pause)
        attempt, pause = attempt + 1, min(2 * pause, _LONGEST_PAUSE)


def _change_behind(error: Exception, folder: PresetFolder | None) -> PresetChangedError | None:
    """Returns the error for a preset that was replaced while it was read, or None if an error has another cause."""
    if isinstance(error, PresetChangedError):
        return error
    changed = None if folder is None else folder.changed_file()
    return None if folder is None or changed is None else PresetChangedError(folder.handle, changed)
