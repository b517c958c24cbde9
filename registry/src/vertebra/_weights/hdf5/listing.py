"""Lists the datasets of HDF5 files in a child process, and checks its list: it is as untrusted as the files."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from vertebra._system.file_identity import Identity, identity_of, is_settled
from vertebra._system.strict_json import parse_json
from vertebra._weights.files import lookalike
from vertebra._weights.hdf5.reader_process import MOST_DATASETS, MOST_DEPTH, Job, run_job
from vertebra._weights.reader.process import OpenFile, temporary_file
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
"""Most times the file's size that datasets may unpack to: weights hardly compress, so more is a decompression bomb."""
_ALWAYS_UNPACKED = 64 * 2**20
"""Bytes that datasets may unpack to in any file."""
LISTING = Job(unpack=False, seconds=60, memory=512 * 2**20, output=32 * 2**20)
"""The limits for one file or many: if many files exceed them, each of the rest is listed by its own child process,
within the same time of all."""
_SECONDS_OF_ANY, _LISTED_EACH_SECOND = 10, 2**20
"""Processor time that any files may take, and the bytes for which there is a second more: a small file that takes
longer keeps the library busy for ever."""

_MOST_KEPT, _MOST_DATASETS_KEPT = 64, 10_000


@dataclass(frozen=True, slots=True)
class Listing:
    """The datasets of a file, by path."""

    contiguous: dict[str, TensorEntry]
    """The contiguous datasets, which can be viewed in the file."""
    packed: dict[str, TensorEntry]
    """The other datasets, with offsets in the temporary file, in the order in which the child writes them."""
    identity: Identity
    """The identity of the file that was listed."""

    def header(self) -> Header:
        return Header(self.contiguous | self.packed, {}, self.identity)


_lock = threading.Lock()
_kept: dict[Identity, Listing] = {}
"""The listings of the last files, the last used one at the end: a child takes longer than the rest of a second load."""


def list_datasets(files: Sequence[OpenFile]) -> list[Listing]:
    """Lists the datasets of each file, by one child process; those of the last files, unless changed, are known.

    Raises:
        WeightsFileError: a file is not a sound HDF5 file, or has a dataset that cannot be a weight.
    """
    for path, file in files:
        start = file.read(64)
        if not start.startswith(_MAGIC):
            raise WeightsFileError(path, _misfit(start))
    identities = [identity_of(os.fstat(file.fileno())) for _, file in files]
    known = [_kept.get(identity) for identity in identities]
    unknown = [opened for opened, listing in zip(files, known, strict=True) if listing is None]
    listed = iter([_parse_line(path, file, line) for (path, file), line in zip(unknown, _lines(unknown), strict=True)])
    listings = [next(listed) if listing is None else listing for listing in known]
    for identity, listing in zip(identities, listings, strict=True):
        _keep(identity, listing)
    return listings


def aligned(size: int) -> int:
    """Returns the bytes that a packed dataset takes in the temporary file."""
    return size + -size % ALIGNMENT


def nonsense(path: Path, problem: str) -> WeightsFileError:
    """Returns the error for child output that is impossible for a sound file."""
    return WeightsFileError(path, f"the reading process gave invalid output, so it is damaged or hostile: {problem}")


def _lines(files: Sequence[OpenFile]) -> list[bytes]:
    """Returns the child's line for each file.

    One child lists all files. If it fails, each remaining file gets its own child, so that errors name the right file.
    """
    deadline = time.monotonic() + LISTING.seconds
    can_share = len(files) > 1 and all(file.fileno() > 2 for _, file in files)  # 0 to 2 are the child's streams
    lines = _lines_of_one_child(files, deadline) if can_share else []
    return lines + [_line(opened, deadline) for opened in files[len(lines) :]]


def _job(files: Sequence[OpenFile], deadline: float) -> Job:
    """Returns the job that lists files, with the time that is left, or some if hardly any is."""
    size = sum(os.fstat(file.fileno()).st_size for _, file in files)
    seconds = min(LISTING.seconds, _SECONDS_OF_ANY + size // _LISTED_EACH_SECOND)
    left = max(math.ceil(deadline - time.monotonic()), min(LISTING.seconds, _SECONDS_OF_ANY))
    return replace(LISTING, seconds=seconds, wait=left)


def _lines_of_one_child(files: Sequence[OpenFile], deadline: float) -> list[bytes]:
    """Returns the lines of one child for the first of these files; it may fail before the last."""
    most = len(files)
    with temporary_file(files[0].path) as output:
        try:
            run_job(files, _job(files, deadline), output)
        except WeightsFileError:
            most -= 1  # it had not listed the file it failed on
        lines = output.read(LISTING.output).split(b"\n")[:-1]
    return lines if len(lines) <= most else []


def _line(opened: OpenFile, deadline: float) -> bytes:
    with temporary_file(opened.path) as output:
        run_job([opened], _job([opened], deadline), output)
        return output.read(LISTING.output)


def _parse_line(path: Path, file: BinaryIO, line: bytes) -> Listing:
    """Parses and checks the child's line for a file."""
    table = parse_json(line, lambda problem: nonsense(path, problem))
    if len(table) > MOST_DATASETS:
        raise nonsense(path, f"it lists {len(table)} datasets; at most {MOST_DATASETS} are read")
    contiguous: dict[str, TensorEntry] = {}
    packed: dict[str, TensorEntry] = {}
    end = 0
    for name, value in table.items():
        entry, is_packed = _entry(path, name, value, end)
        (packed if is_packed else contiguous)[name] = entry
        end += aligned(entry.size) if is_packed else 0
    status = os.fstat(file.fileno())
    _check_ranges(path, contiguous, status.st_size)
    _check_expansion(path, packed, status.st_size)
    return Listing(contiguous, packed, identity_of(status))


def _keep(identity: Identity, listing: Listing) -> None:
    """Keeps a listing for a later load, unless it is long, or the file was changed meanwhile or may be unnoticed."""
    is_sure = listing.identity == identity and is_settled(identity)
    if is_sure and len(listing.contiguous) + len(listing.packed) <= _MOST_DATASETS_KEPT:
        with _lock:
            _kept.pop(identity, None)
            _kept[identity] = listing
            while len(_kept) > _MOST_KEPT:
                del _kept[next(iter(_kept))]


def _misfit(start: bytes) -> str:
    if not start or _MAGIC.startswith(start):
        return f"it is truncated: it has {len(start)} bytes"
    other = lookalike(start) or ("a safetensors file" if start[8:9] == b"{" else None)
    return "it is not an HDF5 file" + (f"; it looks like {other}" if other else "")


def _entry(path: Path, name: str, value: Any, end: int) -> tuple[TensorEntry, bool]:
    """Checks the child's description of a dataset; `end` is the end of the packed datasets before it."""
    if not _is_plain(name):
        raise WeightsFileError(path, f"dataset {name!r} has an unusual name, expected a printable path")
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


def _check_ranges(path: Path, contiguous: dict[str, TensorEntry], size: int) -> None:
    end = len(_MAGIC)
    for entry in sorted((entry for entry in contiguous.values() if entry.size), key=lambda entry: entry.start):
        if entry.start < end:
            problem = f"dataset {entry.name!r} starts at {entry.start}, before the end of the previous one at {end}"
            raise WeightsFileError(path, problem)
        end = entry.start + entry.size
        if end > size:
            raise WeightsFileError(path, f"dataset {entry.name!r} ends at byte {end}, and the file has {size}")


def _check_expansion(path: Path, packed: dict[str, TensorEntry], size: int) -> None:
    total = sum(entry.size for entry in packed.values())
    most = _MOST_EXPANSION * size + _ALWAYS_UNPACKED
    if total > most:
        problem = f"its {size} bytes would unpack to {total}, more than weights can; at most {most} are read"
        raise WeightsFileError(path, problem)
