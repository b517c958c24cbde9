"""The folders of a cache: never links, because others may plant one where they may write.

Behind a link, a cache would write to, and remove, files that are not its own. The root itself may be a link.
"""

from __future__ import annotations

import functools
import os
import stat
from pathlib import Path

from vertebra._system.log import log
from vertebra.errors import CacheError

_MODE = 0o775
"""The most permissions of new folders: no umask lets every user write to them."""
_REMEDY = "Remove the link; to keep the cache on another disk, set VERTEBRA_CACHE to a folder there"


def entries(folder: Path, follow: bool = False) -> list[Path]:
    """Returns the paths in a folder, sorted; none if it is missing, or is a link and links are not followed."""
    try:
        return [] if folder.is_symlink() and not follow else sorted(folder.iterdir())
    except OSError:  # missing, just removed, or not a folder
        return []


def make_folder(root: Path, folder: Path, mode: int = _MODE) -> None:
    """Creates a folder of a cache, and the folders above it.

    Args:
        root: The cache folder.
        folder: The folder, below the root.
        mode: The most permissions of the folder.

    Raises:
        CacheError: a folder between the root and this one is a link.
        OSError: a folder cannot be created.
    """
    names = folder.relative_to(root).parts
    below = [root.joinpath(*names[:count]) for count in range(1, len(names) + 1)]
    for path in below:
        if path.is_symlink():
            problem = f"its folder {path.relative_to(root).as_posix()!r} is a link, which could lead to any folder"
            raise CacheError(root, problem, _REMEDY)
    if below and below[-1].is_dir():
        return
    for path in [*reversed(root.parents), root, *below]:
        if not path.is_dir():
            path.mkdir(mode if path == folder else _MODE, exist_ok=True)


@functools.cache
def warn_if_open(root: Path) -> None:
    """Warns, once in a process, of a cache that every user of the machine may write to."""
    try:
        mode = stat.S_IMODE(root.stat().st_mode)
    except OSError:  # it is created later, without this permission
        return
    if os.name == "posix" and mode & stat.S_IWOTH:
        log.warning(
            "Every user of this machine may write to the cache %s (mode %04o), so its presets may be anyone's. "
            "Take the permission away with: chmod -R o-w %s",
            *(root, mode, root),
        )
