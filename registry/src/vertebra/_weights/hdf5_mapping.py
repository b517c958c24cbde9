"""HDF5 files: an index that another process reads and this one checks, and views of the mapped file.

The HDF5 library crashes on damaged files, follows links to other files and expands a few bytes to any size. So it
never runs here: `hdf5_index.py` lists what a file holds, in a child process, and its list is trusted no more than the
file. A dataset whose bytes lie in the file as one piece is viewed there. The others (chunked, compressed, compact) are
packed: when the first of them is viewed, a child writes them all to a temporary file, and they are viewed in that.
"""

from __future__ import annotations

import functools
import math
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vertebra._documents import parse_json
from vertebra._weights.files import lookalike, map_privately, open_file
from vertebra._weights.hdf5_process import MOST_DATASETS, MOST_DEPTH, Job, run_job
from vertebra._weights.safetensors import ALIGNMENT, Header, TensorEntry, itemsize, numpy_dtype, release
from vertebra.errors import WeightsFileError

if TYPE_CHECKING:
    import numpy as np

DTYPES = (
    *("float16", "bfloat16", "float32", "float64"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
"""Keras names of the dtypes that are read, all little-endian; Keras packs int4 into int8 itself."""
_MAGIC = b"\x89HDF\r\n\x1a\n"
_MOST_DIMENSIONS = 16
_MOST_CHARACTERS = 1_024
_MOST_EXPANSION = 16
"""Weights hardly shrink when they are compressed: what claims to unpack to more times the file's size is a bomb."""
_ALWAYS_UNPACKED = 64 * 2**20
_INDEX_JOB = Job(unpack=False, seconds=60, memory=512 * 2**20, output=32 * 2**20)
_UNPACKED_EACH_SECOND = 10 * 2**20


class MappedHdf5:
    """A file whose datasets are viewed in place, where they lie in one piece.

    The mapping is private: writing to a view changes this process's memory and never the file. The file must not be
    cut short while it is mapped. The `start` of a packed dataset is its place in the temporary file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_file(path) as file:
            self._index = _read_index(path, file)
            self._memory = map_privately(path, file)
            self._version = _version(file)
        self.header = self._index.header()

    def view(self, name: str) -> np.ndarray[Any, Any]:
        """Returns a writable array over a dataset's bytes in the mapping.

        Raises:
            WeightsFileError: the dataset is packed, and what is packed in the file cannot be unpacked.
        """
        import numpy as np

        entry = self.header.entries[name]
        memory = self._unpacked if name in self._index.packed else self._memory
        return np.ndarray(entry.shape, numpy_dtype(entry.dtype), buffer=memory, offset=entry.start)

    def release(self) -> None:
        """Gives back the memory of pages that were read and not written to; reading them again is always possible."""
        release(self._memory)
        if "_unpacked" in self.__dict__:
            release(self._unpacked)

    @functools.cached_property
    def _unpacked(self) -> mmap.mmap:
        with open_file(self._path) as file:
            if _version(file) != self._version:
                raise WeightsFileError(self._path, "it was changed or replaced while it was being read")
            return _unpack(self._path, file, self._index.packed)


def open_hdf5_header(path: Path) -> Header:
    """Reads what a file holds, and no weights of it.

    Raises:
        WeightsFileError: the file is missing, is not a sound HDF5 file, or holds what is no weight.
    """
    with open_file(path) as file:
        return _read_index(path, file).header()


@dataclass(frozen=True, slots=True)
class _Index:
    """The datasets of a file, by path."""

    placed: dict[str, TensorEntry]
    """Those that lie in the file in one piece."""
    packed: dict[str, TensorEntry]
    """The others, each with its place in the temporary file, in the order in which the child writes them."""

    def header(self) -> Header:
        return Header(self.placed | self.packed, {})


def _read_index(path: Path, file: BinaryIO) -> _Index:
    start = file.read(64)
    if not start.startswith(_MAGIC):
        raise WeightsFileError(path, _misfit(start))
    with run_job(path, file, _INDEX_JOB) as output:
        table = parse_json(output.read(_INDEX_JOB.output), lambda problem: _nonsense(path, problem))
    if len(table) > MOST_DATASETS:
        raise _nonsense(path, f"it lists {len(table)} datasets; at most {MOST_DATASETS} are read")
    placed: dict[str, TensorEntry] = {}
    packed: dict[str, TensorEntry] = {}
    end = 0
    for name, value in table.items():
        entry, is_packed = _entry(path, name, value, end)
        (packed if is_packed else placed)[name] = entry
        end += _aligned(entry.size) if is_packed else 0
    size = os.fstat(file.fileno()).st_size
    _check_places(path, placed, size)
    _check_expansion(path, packed, size)
    return _Index(placed, packed)


def _unpack(path: Path, file: BinaryIO, packed: dict[str, TensorEntry]) -> mmap.mmap:
    total = sum(_aligned(entry.size) for entry in packed.values())
    largest = max(entry.size for entry in packed.values())
    job = Job(
        unpack=True,
        seconds=_INDEX_JOB.seconds + total // _UNPACKED_EACH_SECOND,
        memory=_INDEX_JOB.memory + 3 * largest,  # the dataset, and a chunk that may be as large, before and after
        output=total,
        alignment=ALIGNMENT,
    )
    with run_job(path, file, job) as output:
        written = os.fstat(output.fileno()).st_size
        if written != total:
            raise _nonsense(path, f"{written} bytes were unpacked, expected {total}")
        return map_privately(path, output)


def _misfit(start: bytes) -> str:
    if not start or _MAGIC.startswith(start):
        return f"it is cut short: it has {len(start)} bytes"
    other = lookalike(start) or ("a safetensors file" if start[8:9] == b"{" else None)
    return "it is not an HDF5 file" + (f"; it looks like {other}" if other else "")


def _nonsense(path: Path, problem: str) -> WeightsFileError:
    return WeightsFileError(path, f"reading it gave nonsense, so it is damaged or hostile: {problem}")


def _entry(path: Path, name: str, value: Any, end: int) -> tuple[TensorEntry, bool]:
    """Checks what the child says of a dataset; `end` is where the packed ones before it end."""
    if not _is_plain(name):
        raise WeightsFileError(path, f"dataset {name!r} has an unusual name, expected printable parts with / between")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "start"}:
        raise _nonsense(path, f"dataset {name!r} is described by {value!r}")
    dtype, shape, start = value["dtype"], value["shape"], value["start"]
    if dtype not in DTYPES:
        raise _nonsense(path, f"dataset {name!r} has dtype {dtype!r}")
    if not isinstance(shape, list) or not all(map(_is_size, shape)) or len(shape) > _MOST_DIMENSIONS:
        raise WeightsFileError(path, f"dataset {name!r} has shape {shape!r}, expected a short list of sizes")
    if start is not None and not _is_size(start):
        raise _nonsense(path, f"dataset {name!r} starts at {start!r}")
    size = math.prod(shape) * itemsize(dtype)
    return TensorEntry(name, dtype, tuple(shape), end if start is None else start, size), start is None


def _is_plain(name: str) -> bool:
    parts = name.split("/")
    is_short = len(name) <= _MOST_CHARACTERS and len(parts) <= MOST_DEPTH
    return is_short and name.isprintable() and not {"", ".", ".."} & set(parts)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _check_places(path: Path, placed: dict[str, TensorEntry], size: int) -> None:
    end = len(_MAGIC)
    for entry in sorted((entry for entry in placed.values() if entry.size), key=lambda entry: entry.start):
        if entry.start < end:
            raise WeightsFileError(path, f"dataset {entry.name!r} starts at {entry.start}, inside what ends at {end}")
        end = entry.start + entry.size
        if end > size:
            raise WeightsFileError(path, f"dataset {entry.name!r} ends at byte {end}, and the file has {size}")


def _check_expansion(path: Path, packed: dict[str, TensorEntry], size: int) -> None:
    total = sum(entry.size for entry in packed.values())
    most = _MOST_EXPANSION * size + _ALWAYS_UNPACKED
    if total > most:
        raise WeightsFileError(
            path, f"its {size} bytes claim to unpack to {total}, and weights do not; {most} are read"
        )


def _aligned(size: int) -> int:
    return size + -size % ALIGNMENT


def _version(file: BinaryIO) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
