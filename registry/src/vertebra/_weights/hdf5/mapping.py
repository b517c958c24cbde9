"""Maps HDF5 files and views their datasets.

The HDF5 library crashes on damaged files, follows links to other files and expands a few bytes to any size. So it
never runs in this process: `reader_program.py` lists the datasets in a child process, and `listing.py` checks its
list. A contiguous dataset is viewed in the mapped file. The others (chunked, compressed, compact) are called packed:
when the first of them is viewed, a child writes them all to a temporary file, which is mapped instead.
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
from vertebra._weights.files import copy_privately, map_privately, open_file, release
from vertebra._weights.hdf5.listing import LISTING, Listing, aligned, list_datasets, nonsense
from vertebra._weights.hdf5.reader_process import Job, run_job
from vertebra._weights.reader.process import OpenFile, temporary_file
from vertebra._weights.tensor_entry import ALIGNMENT, Header, TensorEntry, numpy_dtype
from vertebra.errors import WeightsFileError

if TYPE_CHECKING:
    import numpy as np

_OPEN_AT_ONCE = 1 if sys.platform == "win32" else 64
"""Files that one child lists: macOS allows a process 256 open files; on Windows, a child inherits only its streams."""
_UNPACKED_EACH_SECOND = 10 * 2**20
"""Bytes that a child is expected to unpack in a second, at least."""


def open_hdf5_headers(paths: Sequence[Path]) -> list[Header]:
    """Reads the header of each file: the list of its datasets, without their values.

    Raises:
        WeightsFileError: a file is missing, is not a sound HDF5 file, or has a dataset that cannot be a weight.
    """
    return [listing.header() for _, listing in _list_files(paths)]


def map_hdf5(paths: Sequence[Path], copy: bool = False) -> list[MappedHdf5]:
    """Maps each file, or copies it into memory.

    Raises:
        WeightsFileError: as `open_hdf5_headers`, or a file cannot be mapped.
    """
    return [MappedHdf5(opened, listing, copy) for opened, listing in _list_files(paths)]


def _list_files(paths: Sequence[Path]) -> Iterator[tuple[OpenFile, Listing]]:
    """Yields each file with its listing; files are open only until the next is requested."""
    for start in range(0, len(paths), _OPEN_AT_ONCE):
        with ExitStack() as stack:
            batch = paths[start : start + _OPEN_AT_ONCE]
            files = [OpenFile(path, stack.enter_context(open_file(path))) for path in batch]
            yield from zip(files, list_datasets(files), strict=True)


class MappedHdf5:
    """A mapped file whose contiguous datasets are viewed in place.

    The mapping is private: writing to a view changes this process's memory and never the file. The file must not be
    truncated while it is mapped; a copy does not depend on it. The `start` of a packed dataset is its offset in the
    temporary file.
    """

    def __init__(self, opened: OpenFile, listing: Listing, copy: bool = False) -> None:
        self._path, self._is_copy = opened.path, copy
        self._packed = listing.packed
        self._memory = (copy_privately if copy else map_privately)(*opened)
        self.header = listing.header()

    def view(self, name: str) -> np.ndarray[Any, Any]:
        """Returns a writable array over a dataset's bytes in the mapping.

        Raises:
            WeightsFileError: the dataset is packed, and the packed datasets cannot be unpacked.
        """
        import numpy as np

        entry = self.header.entries[name]
        memory = self._unpacked if name in self._packed else self._memory
        return np.ndarray(entry.shape, numpy_dtype(entry.dtype), buffer=memory, offset=entry.start)

    def release(self) -> None:
        """Frees the memory pages of a mapping that were only read; they are read again from the file when needed."""
        if not self._is_copy:
            release(self._memory)
        if "_unpacked" in self.__dict__:
            release(self._unpacked)

    @functools.cached_property
    def _unpacked(self) -> mmap.mmap:
        with open_file(self._path) as file:
            if identity_of(os.fstat(file.fileno())) != self.header.identity:
                raise WeightsFileError(self._path, "it was changed or replaced after it was listed")
            return _unpack(OpenFile(self._path, file), self._packed)


def _unpack(opened: OpenFile, packed: dict[str, TensorEntry]) -> mmap.mmap:
    total = sum(aligned(entry.size) for entry in packed.values())
    largest = max(entry.size for entry in packed.values())
    job = Job(
        unpack=True,
        seconds=LISTING.seconds + total // _UNPACKED_EACH_SECOND,
        memory=LISTING.memory + 3 * largest,  # the dataset and a chunk of its size, packed and unpacked
        output=total,
        alignment=ALIGNMENT,
    )
    with temporary_file(opened.path) as output:
        run_job([opened], job, output)
        written = os.fstat(output.fileno()).st_size
        if written != total:
            raise nonsense(opened.path, f"{written} bytes were unpacked, expected {total}")
        return map_privately(opened.path, output)
