"""Listing and opening files of a preset that is a folder of this machine."""

from __future__ import annotations

import os
from pathlib import Path

from vertebra.errors import PresetNotFoundError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile


def list_files(handle: PresetHandle, folder: Path) -> list[PresetFile]:
    """Lists the files directly in a folder.

    Raises:
        PresetNotFoundError: there is no such folder, or it cannot be read.
    """
    try:
        items = [item for item in sorted(folder.iterdir()) if item.is_file()]
        return [PresetFile(item.name, item.stat().st_size, item) for item in items]
    except NotADirectoryError as error:
        raise PresetNotFoundError(handle, f"{folder} is a file, and a preset is a folder") from error
    except OSError as error:
        raise PresetNotFoundError(handle, f"{folder} cannot be read ({error.strerror})") from error


def open_file(handle: PresetHandle, folder: Path, name: str) -> Path:
    """Returns the path of a file in a folder.

    Raises:
        PresetNotFoundError: there is no such file in it, or it is a link that leads out of the folder.
    """
    path = folder / name
    if name != os.path.basename(name) or not path.is_file():
        raise PresetNotFoundError(handle, f"there is no file {name!r} in it")
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        problem = f"{name} is a link that leads out of the folder, to {path.resolve()}; copy the files it links to"
        raise PresetNotFoundError(handle, problem)
    return path
