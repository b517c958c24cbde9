"""Lists, opens and writes the files of a preset in a local folder."""

from __future__ import annotations

import contextlib
import filecmp
import itertools
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from vertebra._system.atomic_save import destination, replacing_folder
from vertebra._system.file_identity import identity_of
from vertebra._system.links import reading_problem
from vertebra.errors import PresetExistsError, PresetNotFoundError, PresetSaveError
from vertebra.file_names import ADAPTER_CONFIG, CONFIG, TOKENIZER, holds_any
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile
from vertebra.specs.presets import MOST_BYTES, MOST_FILES

_MOST_LISTINGS = 20
_MOST_LINKED = 1_000
"""Most files below a link to a folder; a link to more is not a part of a preset."""
_MOST_SUBFOLDERS = 1_000
"""Most subfolders in which a preset is looked for, if the folder has no config."""


def list_files(handle: PresetHandle, folder: Path) -> list[PresetFile]:
    """Lists the files in a folder and its subfolders, or the one file that the path names.

    Without a config, only the configs of the subfolders are listed.

    Links are followed. A link to nothing, a pipe or a device is listed with its `problem`. If the folder is replaced
    meanwhile, as by a save, the new folder is listed.

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
        problem = "is neither a folder nor a regular file" if folder.exists() else "is inside a file"
        raise PresetNotFoundError(handle, f"{folder} {problem}") from error
    except OSError as error:
        raise PresetNotFoundError(handle, f"{folder} cannot be read ({error.strerror})") from error


def open_file(handle: PresetHandle, folder: Path, name: str) -> Path:
    """Returns the path of a regular file in a folder or its subfolders; links are followed wherever they lead.

    The user has named the folder, and tools such as the client of a hub, DVC and Nix fill folders with links. Links are
    checked before a preset is published, in `vertebra._presets.publish`.

    Raises:
        PresetNotFoundError: the folder has no such file, or it is not a regular file.
    """
    if folder.is_file() and name == folder.name:
        return folder
    path, parts = folder / name, name.split("/")
    if not all(map(_is_plain, parts)) or not _is_in_listed_folder(path, folder, len(parts) - 1):
        raise PresetNotFoundError(handle, f"it has no file {name!r}")
    try:
        problem = reading_problem(path)
    except (OSError, ValueError) as error:
        raise PresetNotFoundError(handle, f"it has no file {name!r}") from error
    if problem is not None:
        raise PresetNotFoundError(handle, f"its file {name!r} {problem}")
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
    if any(os.path.isfile(folder / name) for name in (CONFIG, TOKENIZER)):  # noqa: PTH113 (Path's raises for some links)
        found = _walk(folder, folder)
    else:  # a folder without a config or a tokenizer is no preset, and may be a whole disk
        found = itertools.chain(_files_in(folder), _configs_below(folder))
    paths = list(itertools.islice(found, MOST_FILES + 1))  # more are not allowed
    start = len(os.path.join(folder, ""))  # noqa: PTH118 (relative_to takes the most of the time for deep folders)
    named = sorted((os.fspath(path)[start:].replace(os.sep, "/"), path) for path in paths)
    files = [_describe(name, path) for name, path in named]
    return [file for file in files if file.problem is None or not file.name.rpartition("/")[2].startswith(".")]


def _describe(name: str, path: Path) -> PresetFile:
    with contextlib.suppress(OSError):
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size > MOST_BYTES:
            return PresetFile(name, 0, path, problem=f"has {status.st_size:,} bytes, more than any weights file")
        if stat.S_ISREG(status.st_mode):
            return PresetFile(name, status.st_size, path, identity=identity_of(status))
    try:
        problem = reading_problem(path)
    except PermissionError:
        if "/" not in name:  # the whole folder may not be read
            raise
        problem = "is in a folder that may not be read"
    if problem is None:  # the file has been replaced meanwhile
        raise FileNotFoundError(path)
    return PresetFile(name, 0, path, problem=problem)


def _walk(folder: Path, root: Path | None = None) -> Iterator[Path]:
    """Yields everything in a folder and its visible subfolders that is not a folder itself.

    Args:
        folder: The folder.
        root: The folder of the preset: links to folders outside are followed. None follows none, as behind a link.
    """
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            items = list(current.iterdir())
        except PermissionError:
            if current == folder:
                raise
            items = []
            yield current  # which may not be read
        for item in items:
            if not _is_folder(item):
                yield item
            elif item.name.startswith("."):
                continue
            elif not item.is_symlink():
                waiting.append(item)
            elif root is not None and _leads_to_another_folder(item, root):
                yield from _linked_files(item)


def _linked_files(link: Path) -> list[Path]:
    """Returns the files behind a link to a folder, or the link if they are too many, as behind a link to a disk."""
    files = list(itertools.islice(_walk(link), _MOST_LINKED + 1))
    return files if len(files) <= _MOST_LINKED else [link]


def _leads_to_another_folder(link: Path, root: Path) -> bool:
    target, root = link.resolve(), root.resolve()
    return not (target.is_relative_to(root) or root.is_relative_to(target))


def _is_in_listed_folder(path: Path, root: Path, depth: int) -> bool:
    """Returns whether all folders between a file and the root are folders, or links that a listing follows."""
    folders = path.parents[:depth]
    return all(not folder.is_symlink() or _leads_to_another_folder(folder, root) for folder in folders)


def _files_in(folder: Path) -> Iterator[Path]:
    return (item for item in folder.iterdir() if not _is_folder(item))


def _configs_below(folder: Path) -> Iterator[Path]:
    """Yields the configs in subfolders, and in their subfolders, for messages about where a preset is."""
    looked_at = itertools.islice(_subfolders(folder), _MOST_SUBFOLDERS)
    configs = (subfolder / name for subfolder in looked_at for name in (CONFIG, ADAPTER_CONFIG))
    return filter(os.path.isfile, configs)


def _subfolders(folder: Path) -> Iterator[Path]:
    first = [item for item in itertools.islice(folder.iterdir(), _MOST_SUBFOLDERS) if _is_visible_folder(item)]
    yield from first
    for item in first:
        with contextlib.suppress(OSError):  # it may not be read
            yield from filter(_is_visible_folder, item.iterdir())


def _is_visible_folder(path: Path) -> bool:
    return not path.name.startswith(".") and _is_folder(path) and not path.is_symlink()


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 (Path's raises for links that may not be followed)


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and part == os.path.basename(part)
