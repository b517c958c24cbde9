"""HDF5 files: what they hold, and views of the mapped files.

The HDF5 library crashes on damaged files, follows links to other files and expands a few bytes to any size. So it
never runs here: `reader_program.py` lists what files hold, in a child process, and `listing.py` checks its list. A
dataset whose bytes lie in the file as one piece is viewed there. The others (chunked, compressed, compact) are packed:
when the first of them is viewed, a child writes them all to a temporary file, and they are viewed in that.
"""

from __future__ import annotations

import functools
import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._system.file_identity import identity_of
from vertebra._weights.files import map_privately, open_file, release
from vertebra._weights.hdf5.listing import LISTING, Contents, aligned, list_contents, nonsense
from vertebra._weights.hdf5.reader_process import Job, OpenFile, run_job, temporary_file
from vertebra._weights.tensor_entry import ALIGNMENT, Header, TensorEntry, numpy_dtype
from vertebra.errors import WeightsFileError

if TYPE_CHECKING:
    import numpy as np

_OPEN_AT_ONCE = 1 if sys.platform == "win32" else 64
"""Files that one child lists: a process may have 256 open on macOS. On Windows, none can be passed but a stream."""
_UNPACKED_EACH_SECOND = 10 * 2**20


def open_hdf5_headers(paths: Sequence[Path]) -> list[Header]:
    """Reads what each file holds, and no weights of it.

    Raises:
        WeightsFileError: a file is missing, is not a sound HDF5 file, or holds what is no weight.
    """
    return [contents.header() for _, contents in _listed(paths)]


def map_hdf5(paths: Sequence[Path]) -> list[MappedHdf5]:
    """Maps each file.

    Raises:
        WeightsFileError: as `open_hdf5_headers`, or a file cannot be mapped.
    """
    return [MappedHdf5(opened, contents) for opened, contents in _listed(paths)]


def _listed(paths: Sequence[Path]) -> Iterator[tuple[OpenFile, Contents]]:
    """Yields each file, open until the next is asked for, with what it holds."""
    for start in range(0, len(paths), _OPEN_AT_ONCE):
        with ExitStack() as stack:
            batch = paths[start : start + _OPEN_AT_ONCE]
            files = [OpenFile(path, stack.enter_context(open_file(path))) for path in batch]
            yield from zip(files, list_contents(files), strict=True)


class MappedHdf5:
    """A file whose datasets are viewed in place, where they lie in one piece.

    The mapping is private: writing to a view changes this process's memory and never the file. The file must not be
    cut short while it is mapped. The `start` of a packed dataset is its place in the temporary file.
    """

    def __init__(self, opened: OpenFile, contents: Contents) -> None:
        self._path = opened.path
        self._packed = contents.packed
        self._memory = map_privately(*opened)
        self.header = contents.header()

    def view(self, name: str) -> np.ndarray[Any, Any]:
        """Returns a writable array over a dataset's bytes in the mapping.

        Raises:
            WeightsFileError: the dataset is packed, and what is packed in the file cannot be unpacked.
        """
        import numpy as np

        entry = self.header.entries[name]
        memory = self._unpacked if name in self._packed else self._memory
        return np.ndarray(entry.shape, numpy_dtype(entry.dtype), buffer=memory, offset=entry.start)

    def release(self) -> None:
        """Gives back the memory of pages that were read and not written to; reading them again is always possible."""
        release(self._memory)
        if "_unpacked" in self.__dict__:
            release(self._unpacked)

    @functools.cached_property
    def _unpacked(self) -> mmap.mmap:
        with open_file(self._path) as file:
            if identity_of(os.fstat(file.fileno())) != self.header.identity:
                raise WeightsFileError(self._path, "it was changed or replaced while it was being read")
            return _unpack(OpenFile(self._path, file), self._packed)


def _unpack(opened: OpenFile, packed: dict[str, TensorEntry]) -> mmap.mmap:
    total = sum(aligned(entry.size) for entry in packed.values())
    largest = max(entry.size for entry in packed.values())
    job = Job(
        unpack=True,
        seconds=LISTING.seconds + total // _UNPACKED_EACH_SECOND,
        memory=LISTING.memory + 3 * largest,  # the dataset, and a chunk that may be as large, before and after
        output=total,
        alignment=ALIGNMENT,
    )
    with temporary_file(opened.path) as output:
        run_job([opened], job, output)
        written = os.fstat(output.fileno()).st_size
        if written != total:
            raise nonsense(opened.path, f"{written} bytes were unpacked, expected {total}")
        return map_privately(opened.path, output)
