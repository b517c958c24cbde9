"""Listing and opening files of a preset that is a folder of this machine."""

from __future__ import annotations

import os
from pathlib import Path

from vertebra.errors import PresetNotFoundError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile


def list_files(handle: PresetHandle, folder: Path) -> list[PresetFile]:
    """Lists the files directly in a folder; links that lead out of it are left out.

    Raises:
        PresetNotFoundError: there is no such folder, or it cannot be read.
    """
    try:
        items = [item for item in sorted(folder.iterdir()) if _is_inside(folder, item)]
        return [PresetFile(item.name, item.stat().st_size) for item in items]
    except NotADirectoryError as error:
        raise PresetNotFoundError(handle, f"{folder} is a file, and a preset is a folder") from error
    except OSError as error:
        raise PresetNotFoundError(handle, f"{folder} cannot be read ({error.strerror})") from error


def open_file(handle: PresetHandle, folder: Path, name: str) -> Path:
    """Returns the path of a file in a folder.

    Raises:
        PresetNotFoundError: there is no such file in it.
    """
    path = folder / name
    if name != os.path.basename(name) or not _is_inside(folder, path):
        raise PresetNotFoundError(handle, f"there is no file {name!r} in it")
    return path


def _is_inside(folder: Path, path: Path) -> bool:
    return path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(folder.resolve()))
