"""Atomic saves: a file or folder is written next to its target, forced to disk, and renamed to the target."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from vertebra import _arguments
from vertebra._system.ownership import is_abandoned, unfinished_name
from vertebra._system.removal import remove_path
from vertebra._system.user_paths import full_path
from vertebra.errors import PresetSaveError, VertebraError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_RENAME_SWAP = 2  # macOS sys/stdio.h
_LEASE = 7 * 86_400.0
"""Seconds after which an unfinished save of another machine, or of this one before it was started again, is removed."""
_LONGEST_KEY = 200
"""Bytes of the target's name in the names of unfinished saves: file systems allow 255."""
_MOST_NEIGHBOURS = 100_000
_PROBLEMS = {
    errno.ENOSPC: ("the disk is full", "Free some space, or save to another disk"),
    errno.EDQUOT: ("your disk quota is used up", "Free some space, or save to another disk"),
    errno.EFBIG: ("the file would be larger than is allowed here", "Lower max_shard_size, or save to another disk"),
    errno.EACCES: ("the folder is not writable", "Choose a folder you may write to"),
    errno.EPERM: ("the folder is not writable", "Choose a folder you may write to"),
    errno.EROFS: ("the file system is read-only", "Choose a folder you may write to"),
    errno.EBUSY: ("it is a mount point, which cannot be replaced", "Save to a new folder inside it"),
}


def destination(path: str | Path) -> Path:
    """Returns the absolute path of a caller's path; does not resolve links.

    Raises:
        ArgumentError: the argument is not a path.
        PresetSaveError: there can be no file or folder at the path.
    """
    path = path if isinstance(path, str) and path else _arguments.path("Saving", "path", path)
    if "://" in str(path):
        problem = "it is a handle, but presets are saved to folders and files of this machine"
        raise PresetSaveError(path, problem, "Give a path, such as ./my_preset or /data/my_preset")
    target = full_path(path)
    if "\0" in str(target):
        raise PresetSaveError(target, "the path holds a NUL character", "Choose another path")
    with translate_os_errors(target), contextlib.suppress(FileNotFoundError):
        os.lstat(target)
    return target


@contextlib.contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder next to `target` that replaces the target when the block ends without an error.

    Other processes see the old folder or the new one, never a mixture. The caller must copy files of the old folder
    that are to be kept. A process that is killed leaves at most a hidden `.NAME.*.tmp` folder next to the target, which
    the next save removes.

    Raises:
        PresetSaveError: a file could not be written, or the target is a link; the target is unchanged.
    """
    if target.is_symlink():
        raise PresetSaveError(target, "it is a symbolic link", f"Save to {os.path.realpath(target)} itself")
    with translate_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        stage = new_folder(target)
        try:
            yield stage
            stage.chmod(_mode(target, 0o777))
            _sync_tree(stage)
            _replace_folder(stage, target)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    sync_folder(target.parent)


@contextlib.contextmanager
def replacing_files(target: Path) -> Iterator[Path]:
    """Yields an empty folder next to the folder `target`; its files move there when the block ends without an error.

    Each one replaces the file of its name in one step; all other files of `target` are kept.

    Raises:
        PresetSaveError: a file could not be written, or would replace a folder or follow a link out of `target`; then
            no file of `target` was changed.
    """
    with translate_os_errors(target):
        stage = new_folder(target)
        try:
            yield stage
            _sync_tree(stage)
            names = [path.relative_to(stage) for path in sorted(stage.rglob("*")) if path.is_file()]
            for name in names:
                _check_replaceable(target, name)
            for name in names:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (stage / name).replace(target / name)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    sync_folder(target)


def new_folder(target: Path) -> Path:
    stage = _new_path(target)
    stage.mkdir(0o700)
    return stage


def _new_path(target: Path) -> Path:
    """Returns the path of a new file or folder next to the target, after removing what killed saves have left there."""
    key = "." + os.fsdecode(os.fsencode(target.name)[:_LONGEST_KEY])
    names = re.compile(re.escape(key) + r"\.[0-9a-f]{12}-\d+\.[0-9a-f]{8}\.tmp")
    with os.scandir(target.parent) as entries:
        left = [
            Path(entry.path) for entry in itertools.islice(entries, _MOST_NEIGHBOURS) if names.fullmatch(entry.name)
        ]
    for path in left:
        if is_abandoned(path, time.time(), _LEASE):
            remove_path(path)
    return target.with_name(unfinished_name(key))


def _check_replaceable(target: Path, name: Path) -> None:
    if (target / name).is_dir():
        raise PresetSaveError(
            target, f"{name} is a folder there, and a file here", "Move it out, or choose a new folder"
        )
    if not (target / name).parent.resolve().is_relative_to(target.resolve()):
        raise PresetSaveError(target, f"{name.parent} is a link that leads out of it", "Choose a new folder")


@contextlib.contextmanager
def replacing_file(target: Path) -> Iterator[Path]:
    """Yields a path next to `target`; the file written there replaces the target when the block ends without an error.

    Raises:
        PresetSaveError: the file could not be written; the target is unchanged.
    """
    with translate_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        stage = _new_path(target)
        os.close(os.open(stage, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            yield stage
            stage.chmod(_mode(target, 0o666))
            sync(stage)
            stage.replace(target)
        finally:
            stage.unlink(missing_ok=True)
    sync_folder(target.parent)


def sync(path: Path) -> None:
    """Forces a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def translate_os_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except VertebraError:  # some are OSErrors, too, such as a missing input file
        raise
    except OSError as error:
        problem, remedy = _PROBLEMS.get(error.errno or 0, (str(error), "Check the path, and try another folder"))
        raise PresetSaveError(target, problem, remedy) from error


def _replace_folder(stage: Path, target: Path) -> None:
    if target.exists() and any(target.iterdir()):
        _exchange(stage, target)  # the stage is now the old folder, and is removed
    else:
        stage.replace(target)


def _exchange(one: Path, other: Path) -> None:
    """Swaps two folders in one system call, or in two renames with a short gap where the system has no such call."""
    library = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform.startswith("linux") and hasattr(library, "renameat2"):
        failed = library.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE)
    elif sys.platform == "darwin":
        failed = library.renamex_np(first, second, _RENAME_SWAP)
    else:
        failed = -1
        ctypes.set_errno(errno.ENOSYS)
    if not failed:
        return
    code = ctypes.get_errno()
    if code not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        raise OSError(code, os.strerror(code), str(other))
    aside = one.with_name(one.name + ".old")
    other.replace(aside)
    try:
        one.replace(other)
    except OSError:
        aside.replace(other)
        raise
    aside.replace(one)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if path.is_file() and not path.is_symlink():  # opening a pipe would wait for its writer
                sync(path)
        sync(Path(parent))


def sync_folder(folder: Path) -> None:
    """Forces a folder to disk. The save is complete already, so an unsupported sync is no error."""
    with contextlib.suppress(OSError):
        sync(folder)


def _mode(target: Path, usual: int) -> int:
    """Returns the permissions for the new file or folder: the target's, so that a private target stays private."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return usual & ~mask
