"""Paths as users write them."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def full_path(text: str | os.PathLike[str]) -> Path:
    """Returns an absolute path with `~` expanded; does not resolve links, and keeps the names of unknown users."""
    return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH111 (Path's raise, or follow links)


def not_a_folder(path: str | Path) -> str | None:
    """Returns why a path cannot be a folder, or None if it is a folder, can become one, or cannot be examined."""
    try:
        return None if stat.S_ISDIR(os.stat(path).st_mode) else f"{str(path)!r} is not a folder"  # noqa: PTH116 (faster)
    except NotADirectoryError:
        return f"{str(path)!r} is inside a file"
    except ValueError:
        return f"{str(path)!r} is not a valid path"
    except OSError:
        return None
