"""Reading a preset that may be replaced meanwhile: all that is read of it is of one version."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vertebra._resolve.open import open_folder
from vertebra._resolve.preset_folder import PresetFolder
from vertebra.errors import PresetChangedError, VertebraError

T = TypeVar("T")
_ATTEMPTS = 12
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5
"""Seconds to wait before the second attempt, and at most; each pause is twice as long as the one before."""


def read_consistently(preset: str | Path, read: Callable[[PresetFolder], T], locked: bool | None = None) -> T:
    """Opens a preset and reads it; starts again if another version replaces it before all is read.

    Whatever `read` uses, a `PresetFolder` compares it with what it listed in the beginning: so the files were all
    there at the moment between the end of the listing and the first read. Presets of remote sources are pinned, and
    cannot change.

    Args:
        preset: What the user wrote.
        read: Reads what is needed of it, and may be called several times. Files that it has mapped stay as they are.
        locked: Whether it must be what the lockfile says; None means as the user's settings say.

    Returns:
        What `read` does.

    Raises:
        PresetChangedError: it was replaced at each attempt.
        VertebraError: as `open_folder` and `read`.
    """
    attempt, pause = 1, _FIRST_PAUSE
    while True:
        folder = open_folder(preset, locked)
        try:
            return read(folder)
        except (VertebraError, OSError) as error:
            changed = error.name if isinstance(error, PresetChangedError) else folder.changed_file()
            if changed is None:
                raise
            if attempt == _ATTEMPTS:
                raise PresetChangedError(folder.handle, changed) from error
        time.sleep(pause)
        attempt, pause = attempt + 1, min(2 * pause, _LONGEST_PAUSE)
