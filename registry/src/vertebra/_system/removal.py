"""Removing a path, whether it is a file, a link or a folder."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import ExitStack
from pathlib import Path

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_CAN_OPEN_BELOW = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


def remove_path(path: Path) -> bool:
    """Removes a file, a link or a folder with its files; says whether the path is gone."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def remove_below(root: Path, path: Path) -> bool:
    """Removes the file, link or folder at a path below a folder, by way of folders only; says whether the path is gone.

    A link on the way is not followed, even if another process plants it meanwhile: its target stays. Without the
    system's calls for this, as on Windows, a link that is planted meanwhile is followed.
    """
    *folders, name = path.relative_to(root).parts
    if not _CAN_OPEN_BELOW:
        parents = [root.joinpath(*folders[:count]) for count in range(1, len(folders) + 1)]
        return not any(map(Path.is_symlink, parents)) and remove_path(path)
    try:
        with ExitStack() as stack:
            folder = _opened(stack, str(root), None)
            for parent in folders:
                folder = _opened(stack, parent, folder)
            if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                shutil.rmtree(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _opened(stack: ExitStack, name: str, parent: int | None) -> int:
    """Opens a folder, below another one if that is given; then it may not be a link."""
    descriptor = os.open(name, _FOLDER | (0 if parent is None else os.O_NOFOLLOW), dir_fd=parent)
    stack.callback(os.close, descriptor)
    return descriptor
