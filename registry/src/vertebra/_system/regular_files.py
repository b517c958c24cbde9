"""Opening and reading files that others may have written: regular files only, and no more bytes than are expected.

Opening a pipe waits for its writer, and a device, or a link to one, may have no end.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

NOT_REGULAR = "it is a folder, a pipe or a device, expected a regular file"
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
Opener = Callable[[str, int], int]
"""Opens a path with flags, and returns the descriptor, as `os.open`."""


class UnfitFileError(OSError):
    """A file is not read: it is no regular file, or is too large. `strerror` says which."""


def open_regular(path: Path, opener: Opener = os.open, buffering: int = -1) -> BinaryIO:
    """Opens a regular file for reading; links are followed.

    Args:
        path: The path of the file.
        opener: Opens the file.
        buffering: As for `open`.

    Raises:
        UnfitFileError: it is a folder, a pipe or a device.
        OSError: it is missing, or cannot be opened.
    """
    _check_regular(path, path.stat())  # opening a device may have effects
    file: BinaryIO = open(path, "rb", buffering, opener=lambda path, _: opener(path, _FLAGS | _NO_WAIT))  # noqa: SIM115
    try:
        _check_regular(path, os.fstat(file.fileno()))  # it may have been replaced
    except BaseException:
        file.close()
        raise
    return file


def read_limited(path: Path, most: int) -> bytes:
    """Returns the bytes of a regular file that is not larger than a limit.

    Raises:
        UnfitFileError: it is a folder, a pipe or a device, or has more than `most` bytes.
        OSError: it is missing, or cannot be read.
    """
    with open_regular(path, buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1) if size <= most else b""  # files of the system may have more bytes than they say
        if max(size, len(data)) > most:
            raise UnfitFileError(errno.EFBIG, f"it has {size:,} bytes; at most {most:,} are read", str(path))
        return data


def problem_of(error: OSError) -> str:
    """Returns why a file could not be read, for messages."""
    return str(error.strerror) if isinstance(error, UnfitFileError) else f"it cannot be read ({error.strerror})"


def _check_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnfitFileError(errno.EINVAL, NOT_REGULAR, str(path))
