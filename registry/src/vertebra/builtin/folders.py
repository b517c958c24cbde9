"""Listing, opening and writing files of a preset that is a folder of this machine."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from vertebra._system.atomic_save import destination, replacing_folder
from vertebra._system.file_identity import identity_of
from vertebra.errors import PresetExistsError, PresetNotFoundError, PresetSaveError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

_CONFIG = "config.json"
_MOST_LISTINGS = 20


def list_files(handle: PresetHandle, folder: Path) -> list[PresetFile]:
    """Lists the files in a folder and, if it holds a config, in the folders inside it.

    If another folder replaces it meanwhile, as when a preset is saved over, that one is listed.

    Raises:
        PresetNotFoundError: there is no such folder, or it cannot be read.
    """
    try:
        for _ in range(_MOST_LISTINGS):
            before = _number(folder)
            with contextlib.suppress(FileNotFoundError):
                found = _list(folder)
                if _number(folder) == before:
                    return found
        return _list(folder)
    except NotADirectoryError as error:
        raise PresetNotFoundError(handle, f"{folder} is a file, and a preset is a folder") from error
    except OSError as error:
        raise PresetNotFoundError(handle, f"{folder} cannot be read ({error.strerror})") from error


def open_file(handle: PresetHandle, folder: Path, name: str) -> Path:
    """Returns the path of a file in a folder, or in one inside it.

    Raises:
        PresetNotFoundError: there is no such file in it, or it is a link that leads out of the folder.
    """
    path = folder / name
    if not all(map(_is_plain, name.split("/"))) or not path.is_file():
        raise PresetNotFoundError(handle, f"there is no file {name!r} in it")
    if not path.resolve().is_relative_to(folder.resolve()):
        problem = f"{name} is a link that leads out of the folder, to {path.resolve()}; copy the files it links to"
        raise PresetNotFoundError(handle, problem)
    return path


def write_folder(handle: PresetHandle, folder: Path, files: Mapping[str, Path], replace: bool) -> None:
    """Copies files into a folder, which appears complete or not at all; one that has just these stays as it is.

    Raises:
        PresetExistsError: another preset stands there, and `replace` is False.
        PresetSaveError: something else stands there, or it cannot be written.
    """
    target = destination(folder)
    if target.exists() and not target.is_dir():
        raise PresetSaveError(target, "a file stands there, and a preset is a folder", "Choose another path")
    if target == Path.cwd() or target in Path.cwd().parents:
        raise PresetSaveError(target, "it holds the current directory", "Choose a folder of its own")
    if target.is_dir() and any(target.iterdir()):
        if not (target / _CONFIG).is_file():
            raise PresetSaveError(target, "the folder holds other things and no preset", "Choose a new or empty folder")
        if _has_just(handle, target, files):
            return
        if not replace:
            remedy = "Choose another place, or replace it with replace=True or --replace"
            raise PresetExistsError(handle, "another preset stands there", remedy)
    with replacing_folder(target) as stage:
        for name, path in files.items():
            place = stage / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _has_just(handle: PresetHandle, folder: Path, files: Mapping[str, Path]) -> bool:
    """Says whether a folder has these files and no others."""
    there = {file.name: file.path for file in list_files(handle, folder)}
    return there.keys() == files.keys() and all(
        filecmp.cmp(path, str(there[name]), shallow=False) for name, path in files.items()
    )


def _number(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _list(folder: Path) -> list[PresetFile]:
    deep = (folder / _CONFIG).is_file()  # else it is no preset, and may be a whole disk
    found = sorted((path.relative_to(folder).as_posix(), path) for path in _walk(folder, deep))
    return [_described(name, path) for name, path in found]


def _described(name: str, path: Path) -> PresetFile:
    status = path.stat()
    return PresetFile(name, status.st_size, path, identity=identity_of(status))


def _walk(folder: Path, deep: bool) -> Iterator[Path]:
    for item in folder.iterdir():
        if item.is_file():
            yield item
        elif deep and item.is_dir() and not item.is_symlink() and not item.name.startswith("."):
            yield from _walk(item, deep)


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and part == os.path.basename(part)
