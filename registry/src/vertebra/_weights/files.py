"""Opens and maps weights files, and recognises other kinds of files, for error messages."""

from __future__ import annotations

import io
import mmap
import os
from pathlib import Path
from typing import IO, BinaryIO

from vertebra._system.file_identity import identity_of
from vertebra._system.regular_files import UnfitFileError, open_regular, problem_of
from vertebra.errors import WeightsFileError

_LOOKALIKES = {
    b"version https://git-lfs": "a git-lfs pointer, not the file itself",
    b"PK\x03\x04": "a zip archive, such as a .keras file or a torch checkpoint",
    b"\x89HDF": "an HDF5 file",
    b"\x80": "a pickle, which can run code and is not opened",
    b"<": "a web page",
    b"{": "a JSON file",
}
_AT_ONCE = 2**30
"""Bytes of one call of the operating system, which reads less than 2 GiB at once."""


def open_file(path: Path) -> BinaryIO:
    """Opens a file for reading.

    Raises:
        WeightsFileError: the file is missing, cannot be opened, or is not a regular file.
    """
    try:
        return open_regular(path)
    except FileNotFoundError as error:
        raise WeightsFileError(path, "it is missing") from error
    except UnfitFileError as error:
        raise WeightsFileError(path, problem_of(error)) from error
    except OSError as error:
        raise WeightsFileError(path, f"it cannot be opened ({error.strerror})") from error


def map_privately(path: Path, file: IO[bytes]) -> mmap.mmap:
    """Maps an open file privately: writing to the memory never reaches the file.

    Raises:
        WeightsFileError: the file cannot be mapped.
    """
    try:
        if not hasattr(mmap, "MAP_PRIVATE"):
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        # Without reserving memory, a file larger than memory can be mapped: only written pages take memory.
        no_reserve = getattr(mmap, "MAP_NORESERVE", 0)
        return mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE | no_reserve, mmap.PROT_READ | mmap.PROT_WRITE)
    except (OSError, ValueError) as error:
        raise WeightsFileError(path, f"it cannot be mapped ({error})", "Free memory or raise its limit") from error


def copy_privately(path: Path, file: IO[bytes]) -> mmap.mmap:
    """Copies an open file into memory, where nothing that happens to the file later can reach it.

    Raises:
        WeightsFileError: the file was changed meanwhile, or there is too little memory.
    """
    before = os.fstat(file.fileno())
    try:
        memory = mmap.mmap(-1, before.st_size)
        with memoryview(memory) as whole:
            read = _read_into(whole, io.FileIO(file.fileno(), closefd=False))
    except (OSError, ValueError) as error:
        raise WeightsFileError(path, f"it cannot be copied into memory ({error})", "Free memory, or map it") from error
    if read != before.st_size or identity_of(os.fstat(file.fileno())) != identity_of(before):
        raise WeightsFileError(path, "it was changed while it was read", "Load the preset again")
    return memory


def _read_into(memory: memoryview, file: io.FileIO) -> int:
    """Fills memory from the start of a file, and returns the number of bytes: fewer if the file is shorter."""
    position = file.seek(0)
    while position < len(memory) and (count := file.readinto(memory[position : position + _AT_ONCE])):
        position += count
    return position


def lookalike(start: bytes) -> str | None:
    """Returns the kind of file that starts with these bytes, for error messages, or None if it is not recognised."""
    return next((meaning for magic, meaning in _LOOKALIKES.items() if start.startswith(magic)), None)


def release(memory: mmap.mmap) -> None:
    """Frees the memory pages of a mapping that was only read; bytes written to its pages would be lost."""
    if hasattr(mmap, "MADV_DONTNEED"):
        memory.madvise(mmap.MADV_DONTNEED)
