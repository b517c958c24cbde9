"""The files of a preset for other programs: local paths by name, and copies under their own names."""

from __future__ import annotations

import filecmp
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from vertebra._cache.transfer.progress import Advance
from vertebra._resolve.open import open_folder
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.atomic_save import destination, replacing_files, replacing_folder
from vertebra._system.regular_files import open_regular
from vertebra.errors import PresetNotFoundError, PresetSaveError, close_names

_BLOCK = 2**20
_MOST_NAMES = 10


def local_files(preset: str | Path, names: Sequence[str]) -> dict[str, Path]:
    """Returns the local path of each wanted file of a preset, by name; `vertebra.files` documents it."""
    folder = open_folder(preset)
    if not names:
        folder.require_complete()
    wanted = matching(folder, names)
    return dict(zip(wanted, folder.fetch_all(wanted), strict=True))


def matching(folder: PresetFolder, patterns: Sequence[str]) -> list[str]:
    """Returns the names of a preset's files that are equal to a pattern or match it as a glob; without any, all names.

    Raises:
        PresetNotFoundError: no file matches a pattern, or the file is left out.
        OfflineError: no file matches, and only the files on this machine are known.
    """
    for pattern in patterns:
        if not any(_matches(file.name, pattern) for file in folder.files):
            if pattern in folder.left_out or not folder.is_complete:
                folder.fetch(pattern)  # raises: it must not be used, or may exist and be unknown
            names = sorted(file.name for file in folder.files)
            more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
            problem = f"none of its files matches {pattern!r}; it has {', '.join(names[:_MOST_NAMES])}{more}"
            raise PresetNotFoundError(folder.handle, problem, close_names(pattern, names))
    return [f.name for f in folder.files if not patterns or any(_matches(f.name, pattern) for pattern in patterns)]


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def copy_files(
    paths: Mapping[str, Path], folder: str | Path, replace: bool = False, advance: Advance | None = None
) -> dict[str, Path]:
    """Copies files into a folder, which gets all of them or none; a folder that has equal files is not changed.

    They are copies and not links, so that editing them never changes the cache.

    Args:
        paths: The files to copy, by the name that each has in the folder, with `/` between folders.
        folder: The folder, which need not exist.
        replace: Whether files of the same names may be replaced in a folder that is not empty; others are kept.
        advance: Called with the bytes copied so far and the total bytes, or None for no progress.

    Returns:
        The path of each copy, by name.

    Raises:
        PresetSaveError: the folder holds other files and `replace` is False, or it cannot be written.
    """
    target = destination(folder)
    copies = {name: target / name for name in paths}
    if all(copies[name].is_file() and filecmp.cmp(path, copies[name], shallow=False) for name, path in paths.items()):
        return copies
    if target.exists() and not target.is_dir():
        raise PresetSaveError(target, "it is a file", "Give the path of a folder")
    held = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
    if held and not replace:
        problem = f"the folder is not empty: it holds other files, such as {held[0]!r}"
        remedy = "Choose a new or empty folder, or replace the files of the same names with --replace"
        raise PresetSaveError(target, problem, remedy)
    with (replacing_files if held else replacing_folder)(target) as stage:
        _copy_all(paths, stage, advance)
    return copies


def _copy_all(paths: Mapping[str, Path], stage: Path, advance: Advance | None) -> None:
    total, done = sum(path.stat().st_size for path in paths.values()), 0
    for name, path in paths.items():
        copy = stage / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with open_regular(path) as source, copy.open("wb") as file:
            while block := source.read(_BLOCK):
                file.write(block)
                done += len(block)
                if advance is not None:
                    advance(done, total)
