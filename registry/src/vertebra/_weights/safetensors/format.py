"""Reads safetensors files: a strict header reader, and views of the mapped file.

The format is that of https://huggingface.co/docs/safetensors: eight bytes of header length, a JSON header, the data.
The `safetensors` package gives no offsets and no alignment of tensors, and a view without a copy depends on both.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vertebra._system.file_identity import identity_of
from vertebra._system.strict_json import parse_json
from vertebra._weights.files import copy_privately, lookalike, map_privately, open_file, release
from vertebra._weights.tensor_entry import Header, TensorEntry, itemsize, numpy_dtype
from vertebra.errors import WeightsFileError

if TYPE_CHECKING:
    import numpy as np

_MOST_HEADER_BYTES = 16 * 2**20
_MOST_TENSORS = 100_000
_FIELDS = {"dtype", "shape", "data_offsets"}
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
"""Keras dtype names by their names in the file."""
_ITEM_SIZES = {name: itemsize(dtype) for name, dtype in DTYPES.items()}


class MappedTensors:
    """A mapped file whose tensors are viewed in place.

    The mapping is private: writing to a view changes this process's memory and never the file. The file must not be
    truncated while it is mapped; Vertebra's saves replace files and never rewrite them. A copy does not depend on it.
    """

    def __init__(self, path: Path, converted: IO[bytes] | None = None, copy: bool = False) -> None:
        """Maps or copies the file at `path`; or maps a temporary file of this format, made from the file at `path`."""
        self._is_copy = copy
        with contextlib.nullcontext(converted) if converted else open_file(path) as file:
            self.header = read_header(path, file)
            self._memory = (copy_privately if copy else map_privately)(path, file)

    def view(self, name: str) -> np.ndarray[Any, Any]:
        """Returns a writable array over a tensor's bytes in the mapping."""
        import numpy as np

        entry = self.header.entries[name]
        return np.ndarray(entry.shape, numpy_dtype(entry.dtype), buffer=self._memory, offset=entry.start)

    def release(self) -> None:
        """Frees the memory pages of a mapping that were only read; they are read again from the file when needed."""
        if not self._is_copy:
            release(self._memory)


def open_header(path: Path) -> Header:
    """Reads only a file's header.

    Raises:
        WeightsFileError: the file is missing or is not a sound safetensors file.
    """
    with open_file(path) as file:
        return read_header(path, file)


def header_end(first: bytes) -> int:
    """Returns the offset of a header's end, from the first eight bytes of the file; limited to the longest header."""
    return 8 + min(int.from_bytes(first[:8], "little"), _MOST_HEADER_BYTES)


def read_header(path: Path, file: IO[bytes]) -> Header:
    """Reads and checks the header of an open file."""
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(8)
    if len(prefix) < 8:
        raise WeightsFileError(path, f"it is truncated: {size} bytes are too few for a header")
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


def _misfit(start: bytes, size: int, length: int) -> str:
    if other := lookalike(start):
        return f"it is not a safetensors file; it looks like {other}"
    if length > size - 8:
        return f"it is truncated or damaged: its header length is {length} bytes, and the file has {size}"
    return f"its header has {length} bytes; at most {_MOST_HEADER_BYTES} are read"


def _check_metadata(path: Path, metadata: Any) -> dict[str, str]:
    if metadata is None:  # the safetensors library reads null like a missing table
        return {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsFileError(path, "its __metadata__ is not a table of strings")
    return metadata


def _entry(path: Path, name: str, value: Any, data_start: int) -> TensorEntry:
    if not isinstance(value, dict) or value.keys() != _FIELDS:
        raise WeightsFileError(path, f"tensor {name!r} is described by {value!r}, expected dtype, shape, data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise WeightsFileError(path, f"tensor {name!r} has dtype {dtype!r}, expected one of {', '.join(DTYPES)}")
    if not _are_sizes(shape) or len(shape) > _MOST_DIMENSIONS:
        raise WeightsFileError(path, f"tensor {name!r} has shape {shape!r}, expected a short list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise WeightsFileError(path, f"tensor {name!r} has data_offsets {offsets!r}, expected [start, end]")
    needed, given = math.prod(shape) * _ITEM_SIZES[dtype], offsets[1] - offsets[0]
    if needed != given:
        raise WeightsFileError(path, f"tensor {name!r} needs {needed} bytes for {dtype} {shape}, and has {given}")
    return TensorEntry(name, DTYPES[dtype], tuple(shape), data_start + offsets[0], given)


def _are_sizes(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    for item in value:  # noqa: SIM110 (twice as fast as all(), for headers of very many tensors)
        if type(item) is not int or not 0 <= item < 2**63:
            return False
    return True


def _check_layout(path: Path, entries: Any, data_start: int, size: int) -> None:
    position = data_start
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.size)):
        if entry.start != position:
            raise WeightsFileError(path, f"tensor {entry.name!r} starts at {entry.start}, expected {position}")
        position += entry.size
    if position > size:
        raise WeightsFileError(path, f"it is truncated: its tensors end at byte {position}, and the file has {size}")
    if position < size:
        raise WeightsFileError(path, f"it has {size - position} bytes after its last tensor")
