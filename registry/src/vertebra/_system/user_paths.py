"""Paths as users write them."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def full_path(text: str | os.PathLike[str]) -> Path:
    """Returns an absolute path, with `~` as the home; links stay as they are, and users that are unknown, too."""
    return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH111 (Path's raise, or follow links)


def not_a_folder(path: str | Path) -> str | None:
    """Returns why a path cannot be a folder, or None if it is one, may become one, or cannot be looked at."""
    try:
        return None if stat.S_ISDIR(os.stat(path).st_mode) else f"{str(path)!r} is not a folder"  # noqa: PTH116 (faster)
    except NotADirectoryError:
        return f"{str(path)!r} is below a file"
    except ValueError:
        return f"{str(path)!r} cannot be a path"
    except OSError:
        return None
