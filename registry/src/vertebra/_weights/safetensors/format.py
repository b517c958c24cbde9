"""safetensors files: a strict header reader, views of the mapped file, and a writer that aligns what it writes.

The format is that of https://huggingface.co/docs/safetensors: eight bytes of header length, a JSON header, the data.
The `safetensors` package can neither say where a tensor starts nor align it, and both decide whether it can be viewed.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vertebra._system.file_identity import Identity, identity_of
from vertebra._system.strict_json import parse_json
from vertebra._weights.files import lookalike, map_privately, open_file
from vertebra.errors import WeightsFileError

if TYPE_CHECKING:
    import numpy as np

ALIGNMENT = 64
"""`jax.device_put` views a host buffer that starts at a multiple of this many bytes, and copies any other."""
_MOST_HEADER_BYTES = 16 * 2**20
_MOST_TENSORS = 100_000
_MOST_DIMENSIONS = 16

DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
}
"""Names of dtypes in the file, and in Keras."""
_CODES = {keras: code for code, keras in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor in a file, as its header describes it."""

    name: str
    dtype: str
    """Keras name of the stored dtype."""
    shape: tuple[int, ...]
    start: int
    """Position of the first byte in the file."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file holds."""

    entries: dict[str, TensorEntry]
    metadata: dict[str, str]
    identity: Identity | None = None
    """Of the file, once it was read."""


class MappedTensors:
    """A file whose tensors are viewed in place.

    The mapping is private: writing to a view changes this process's memory and never the file. The file must not be
    cut short while it is mapped; saves of Vertebra replace files and never rewrite them.
    """

    def __init__(self, path: Path) -> None:
        with open_file(path) as file:
            self.header = read_header(path, file)
            self._memory = map_privately(path, file)

    def view(self, name: str) -> np.ndarray[Any, Any]:
        """Returns a writable array over a tensor's bytes in the mapping."""
        import numpy as np

        entry = self.header.entries[name]
        return np.ndarray(entry.shape, numpy_dtype(entry.dtype), buffer=self._memory, offset=entry.start)

    def release(self) -> None:
        """Gives back the memory of pages that were read and not written to; reading them again is always possible."""
        release(self._memory)


def open_header(path: Path) -> Header:
    """Reads a file's header, and nothing else of it.

    Raises:
        WeightsFileError: the file is missing or is not a sound safetensors file.
    """
    with open_file(path) as file:
        return read_header(path, file)


def header_end(first: bytes) -> int:
    """From the first eight bytes of a file to where its header ends; as far as any header that is read, at most."""
    return 8 + min(int.from_bytes(first, "little"), _MOST_HEADER_BYTES)


def read_header(path: Path, file: BinaryIO) -> Header:
    """Reads and checks the header of an open file."""
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(8)
    if len(prefix) < 8:
        raise WeightsFileError(path, f"it is cut short: {size} bytes cannot hold even a header")
    (length,) = struct.unpack("<Q", prefix)
    if length > min(size - 8, _MOST_HEADER_BYTES):
        raise WeightsFileError(path, _misfit(prefix + file.read(24), size, length))
    table = parse_json(file.read(length), lambda problem: WeightsFileError(path, f"its header is unsound: {problem}"))
    metadata = _check_metadata(path, table.pop("__metadata__", {}))
    if len(table) > _MOST_TENSORS:
        raise WeightsFileError(path, f"it declares {len(table)} tensors; at most {_MOST_TENSORS} are read")
    entries = {name: _entry(path, name, value, 8 + length) for name, value in table.items()}
    _check_layout(path, entries.values(), 8 + length, size)
    return Header(entries, metadata, identity_of(os.fstat(file.fileno())))


def write_tensors(
    path: Path,
    tensors: Mapping[str, Callable[[], np.ndarray[Any, Any]]],
    layout: Mapping[str, TensorEntry],
    metadata: Mapping[str, str],
) -> None:
    """Writes a file tensor by tensor: each array is asked for when its turn comes, and not kept.

    Args:
        path: The file, replaced if it exists.
        tensors: For each name, a function that returns its array.
        layout: For each name, its dtype and shape, from `layout_of`.
        metadata: Text to store with the tensors.
    """
    order = write_order(layout.values())
    with path.open("wb") as file:
        file.write(_encode_header(order, metadata))
        for entry in order:
            write_tensor(file, entry, tensors[entry.name])


def write_tensor(file: BinaryIO, entry: TensorEntry, read: Callable[[], np.ndarray[Any, Any]]) -> None:
    """Writes the bytes of a tensor at the position of a file."""
    import numpy as np

    array = np.ascontiguousarray(read())
    if array.nbytes != entry.size:
        raise ValueError(f"{entry.name} has {array.nbytes} bytes, expected {entry.size}")
    file.write(array.reshape(-1).view(np.uint8).data)


def layout_of(name: str, dtype: str, shape: tuple[int, ...]) -> TensorEntry:
    """Describes a tensor that is to be written."""
    return TensorEntry(name, dtype, shape, 0, math.prod(shape) * itemsize(dtype))


def write_order(entries: Any) -> list[TensorEntry]:
    """Puts tensors whose size keeps the next one aligned first: the format allows no gaps between tensors."""
    return sorted(entries, key=lambda entry: entry.size % ALIGNMENT != 0)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Returns the numpy dtype of a Keras dtype name, those of ml_dtypes included."""
    import ml_dtypes
    import numpy as np

    return np.dtype(getattr(ml_dtypes, name, None) or name)


def itemsize(dtype: str) -> int:
    """Returns the bytes of one item, without importing numpy."""
    if dtype == "bool" or dtype.startswith("float8"):
        return 1
    return 2 if dtype == "bfloat16" else int(dtype.lstrip("uintfloa")) // 8


def release(memory: mmap.mmap) -> None:
    """Gives back the memory of a read-only use of a mapping; what was written to its pages would be lost."""
    if hasattr(mmap, "MADV_DONTNEED"):
        memory.madvise(mmap.MADV_DONTNEED)


def _misfit(start: bytes, size: int, length: int) -> str:
    if other := lookalike(start):
        return f"it is not a safetensors file; it looks like {other}"
    if length > size - 8:
        return f"it is cut short or damaged: the header is said to have {length} bytes, and the file has {size}"
    return f"its header of {length} bytes is larger than the {_MOST_HEADER_BYTES} that are read"


def _check_metadata(path: Path, metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsFileError(path, "its __metadata__ is not a table of texts")
    return metadata


def _entry(path: Path, name: str, value: Any, data_start: int) -> TensorEntry:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise WeightsFileError(path, f"tensor {name!r} is described by {value!r}, expected dtype, shape, data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise WeightsFileError(path, f"tensor {name!r} has dtype {dtype!r}, expected one of {', '.join(DTYPES)}")
    if not _are_sizes(shape) or len(shape) > _MOST_DIMENSIONS:
        raise WeightsFileError(path, f"tensor {name!r} has shape {shape!r}, expected a short list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise WeightsFileError(path, f"tensor {name!r} has data_offsets {offsets!r}, expected [start, end]")
    needed, given = math.prod(shape) * itemsize(DTYPES[dtype]), offsets[1] - offsets[0]
    if needed != given:
        raise WeightsFileError(path, f"tensor {name!r} needs {needed} bytes for {dtype} {shape}, and has {given}")
    return TensorEntry(name, DTYPES[dtype], tuple(shape), data_start + offsets[0], given)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _check_layout(path: Path, entries: Any, data_start: int, size: int) -> None:
    position = data_start
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.size)):
        if entry.start != position:
            raise WeightsFileError(path, f"tensor {entry.name!r} starts at {entry.start}, expected {position}")
        position += entry.size
    if position > size:
        raise WeightsFileError(path, f"it is cut short: its tensors end at byte {position}, and the file has {size}")
    if position < size:
        raise WeightsFileError(path, f"it has {size - position} bytes after its last tensor")


def _encode_header(order: list[TensorEntry], metadata: Mapping[str, str]) -> bytes:
    table: dict[str, Any] = {"__metadata__": dict(metadata)}
    position = 0
    for entry in order:
        offsets = [position, position + entry.size]
        table[entry.name] = {"dtype": _CODES[entry.dtype], "shape": list(entry.shape), "data_offsets": offsets}
        position += entry.size
    header = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-(8 + len(header)) % ALIGNMENT)
    return struct.pack("<Q", len(header)) + header
