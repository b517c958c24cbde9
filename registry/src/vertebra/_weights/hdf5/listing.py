"""What HDF5 files hold: a child process lists it, and its list is trusted no more than the files."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vertebra._system.file_identity import Identity, identity_of
from vertebra._system.strict_json import parse_json
from vertebra._weights.files import lookalike
from vertebra._weights.hdf5.reader_process import MOST_DATASETS, MOST_DEPTH, Job, OpenFile, run_job, temporary_file
from vertebra._weights.tensor_entry import ALIGNMENT, Header, TensorEntry, itemsize
from vertebra.errors import WeightsFileError

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
LISTING = Job(unpack=False, seconds=60, memory=512 * 2**20, output=32 * 2**20)
"""The limits are the same for one file and for many: where many need more, each is listed by a child of its own."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The datasets of a file, by path."""

    placed: dict[str, TensorEntry]
    """Those that lie in the file in one piece."""
    packed: dict[str, TensorEntry]
    """The others, each with its place in the temporary file, in the order in which the child writes them."""
    identity: Identity
    """Of the file, once it was listed."""

    def header(self) -> Header:
        return Header(self.placed | self.packed, {}, self.identity)


def list_contents(files: Sequence[OpenFile]) -> list[Contents]:
    """Lists what each file holds.

    Raises:
        WeightsFileError: a file is not a sound HDF5 file, or holds what is no weight.
    """
    for path, file in files:
        start = file.read(64)
        if not start.startswith(_MAGIC):
            raise WeightsFileError(path, _misfit(start))
    return [_contents(path, file, line) for (path, file), line in zip(files, _lines(files), strict=True)]


def aligned(size: int) -> int:
    """Returns the bytes that a packed dataset takes in the temporary file."""
    return size + -size % ALIGNMENT


def nonsense(path: Path, problem: str) -> WeightsFileError:
    """Returns the error for a child that said what no child would say of a sound file."""
    return WeightsFileError(path, f"reading it gave nonsense, so it is damaged or hostile: {problem}")


def _lines(files: Sequence[OpenFile]) -> list[bytes]:
    """Asks one child about all files, and one each about those that it did not get to: that tells whom to blame."""
    can_share = len(files) > 1 and all(file.fileno() > 2 for _, file in files)  # the child has streams at 0, 1 and 2
    lines = _lines_of_one_child(files) if can_share else []
    return lines + [_line(opened) for opened in files[len(lines) :]]


def _lines_of_one_child(files: Sequence[OpenFile]) -> list[bytes]:
    """Returns what a child says of the first of these files; it need not get to the last."""
    most = len(files)
    with temporary_file(files[0].path) as output:
        try:
            run_job(files, LISTING, output)
        except WeightsFileError:
            most -= 1  # whichever file it failed on, it had not listed that one
        lines = output.read(LISTING.output).split(b"\n")[:-1]
    return lines if len(lines) <= most else []


def _line(opened: OpenFile) -> bytes:
    with temporary_file(opened.path) as output:
        run_job([opened], LISTING, output)
        return output.read(LISTING.output)


def _contents(path: Path, file: BinaryIO, line: bytes) -> Contents:
    """Checks what the child says of a file."""
    table = parse_json(line, lambda problem: nonsense(path, problem))
    if len(table) > MOST_DATASETS:
        raise nonsense(path, f"it lists {len(table)} datasets; at most {MOST_DATASETS} are read")
    placed: dict[str, TensorEntry] = {}
    packed: dict[str, TensorEntry] = {}
    end = 0
    for name, value in table.items():
        entry, is_packed = _entry(path, name, value, end)
        (packed if is_packed else placed)[name] = entry
        end += aligned(entry.size) if is_packed else 0
    status = os.fstat(file.fileno())
    _check_places(path, placed, status.st_size)
    _check_expansion(path, packed, status.st_size)
    return Contents(placed, packed, identity_of(status))


def _misfit(start: bytes) -> str:
    if not start or _MAGIC.startswith(start):
        return f"it is cut short: it has {len(start)} bytes"
    other = lookalike(start) or ("a safetensors file" if start[8:9] == b"{" else None)
    return "it is not an HDF5 file" + (f"; it looks like {other}" if other else "")


def _entry(path: Path, name: str, value: Any, end: int) -> tuple[TensorEntry, bool]:
    """Checks what the child says of a dataset; `end` is where the packed ones before it end."""
    if not _is_plain(name):
        raise WeightsFileError(path, f"dataset {name!r} has an unusual name, expected printable parts with / between")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "start"}:
        raise nonsense(path, f"dataset {name!r} is described by {value!r}")
    dtype, shape, start = value["dtype"], value["shape"], value["start"]
    if dtype not in DTYPES:
        raise nonsense(path, f"dataset {name!r} has dtype {dtype!r}")
    if not isinstance(shape, list) or not all(map(_is_size, shape)) or len(shape) > _MOST_DIMENSIONS:
        raise WeightsFileError(path, f"dataset {name!r} has shape {shape!r}, expected a short list of sizes")
    if start is not None and not _is_size(start):
        raise nonsense(path, f"dataset {name!r} starts at {start!r}")
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
