"""Removing a path, whether it is a file, a link or a folder."""

from __future__ import annotations

import shutil
from pathlib import Path


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
