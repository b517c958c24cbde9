"""Lists, opens and writes the files of a preset in a local folder."""

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
from vertebra.file_names import CONFIG, holds_any
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

_MOST_LISTINGS = 20


def list_files(handle: PresetHandle, folder: Path) -> list[PresetFile]:
    """Lists the files in a folder and, if it has a config, in its subfolders; or the one file that the path names.

    If the folder is replaced meanwhile, as by a save, the new folder is listed.

    Raises:
        PresetNotFoundError: the folder does not exist or cannot be read.
    """
    try:
        if folder.is_file():  # an adapter may be a single file
            return [_describe(folder.name, folder)]
        for _ in range(_MOST_LISTINGS):
            before = _inode(folder)
            with contextlib.suppress(FileNotFoundError):
                files = _list(folder)
                if _inode(folder) == before:
                    return files
        return _list(folder)
    except NotADirectoryError as error:
        raise PresetNotFoundError(handle, f"{folder} is inside a file") from error
    except OSError as error:
        raise PresetNotFoundError(handle, f"{folder} cannot be read ({error.strerror})") from error


def open_file(handle: PresetHandle, folder: Path, name: str) -> Path:
    """Returns the path of a file in a folder or its subfolders.

    Raises:
        PresetNotFoundError: the folder has no such file, or it is a link that leads out of the folder.
    """
    if folder.is_file() and name == folder.name:
        return folder
    path = folder / name
    if not all(map(_is_plain, name.split("/"))) or not path.is_file():
        raise PresetNotFoundError(handle, f"it has no file {name!r}")
    if not path.resolve().is_relative_to(folder.resolve()):
        problem = f"{name} is a link that leads out of the folder, to {path.resolve()}; copy the files it links to"
        raise PresetNotFoundError(handle, problem)
    return path


def write_folder(handle: PresetHandle, folder: Path, files: Mapping[str, Path], replace: bool) -> None:
    """Copies files into a folder, which appears complete or not at all; does nothing if it has exactly these files.

    Raises:
        PresetExistsError: the folder holds another preset, and `replace` is False.
        PresetSaveError: the folder holds other files, is a file, or cannot be written.
    """
    target = destination(folder)
    if target.exists() and not target.is_dir():
        raise PresetSaveError(target, "it is a file, and a preset is a folder", "Choose another path")
    if target == Path.cwd() or target in Path.cwd().parents:
        raise PresetSaveError(target, "it holds the current directory", "Choose a separate folder")
    if target.is_dir() and any(target.iterdir()):
        if _has_same_files(handle, target, files):
            return
        if not holds_any({path.name for path in target.iterdir()}):
            problem = "the folder is not empty and holds no preset or adapter"
            raise PresetSaveError(target, problem, "Choose a new or empty folder")
        if not replace:
            remedy = "Choose another folder, or replace the preset with replace=True or --replace"
            raise PresetExistsError(handle, "the folder holds another preset", remedy)
    with replacing_folder(target) as stage:
        for name, path in files.items():
            copy = stage / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _has_same_files(handle: PresetHandle, folder: Path, files: Mapping[str, Path]) -> bool:
    """Says whether a folder has exactly these files."""
    present = {file.name: file.path for file in list_files(handle, folder)}
    return present.keys() == files.keys() and all(
        filecmp.cmp(path, str(present[name]), shallow=False) for name, path in files.items()
    )


def _inode(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _list(folder: Path) -> list[PresetFile]:
    deep = (folder / CONFIG).is_file()  # a folder without a config is no preset, and may be a whole disk
    paths = sorted((path.relative_to(folder).as_posix(), path) for path in _walk(folder, deep))
    return [_describe(name, path) for name, path in paths]


def _describe(name: str, path: Path) -> PresetFile:
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
