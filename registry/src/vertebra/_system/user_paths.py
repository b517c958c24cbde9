"""Paths as users write them."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from pathlib import Path

from vertebra.errors import close_names

_MOST_NEIGHBOURS = 1_000


def full_path(text: str | os.PathLike[str]) -> Path:
    """Returns an absolute path with `~` expanded; does not resolve links, and keeps the names of unknown users."""
    path = os.fspath(text)
    with contextlib.suppress(ValueError):  # a name that no user can have, such as one with a NUL character
        path = os.path.expanduser(path)  # noqa: PTH111 (Path's raises)
    return Path(os.path.abspath(path))


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


def similar_folders(text: str) -> list[str]:
    """Returns the folders next to a path that does not exist whose names are like its name, as the user writes paths.

    Only a part of a very large folder is searched.
    """
    given = text.rstrip("/" + os.sep)
    folder, name = os.path.split(full_path(given))
    if not given.endswith(name) or os.path.lexists(full_path(given)):
        return []
    names: list[str] = []
    with contextlib.suppress(OSError, ValueError):  # a suggestion must not replace the error
        found = itertools.islice(Path(folder).iterdir(), _MOST_NEIGHBOURS)
        names = [path.name for path in found if not path.name.startswith(".") and path.is_dir()]
    return [f"{given.removesuffix(name)}{similar}" for similar in close_names(name, names)]
