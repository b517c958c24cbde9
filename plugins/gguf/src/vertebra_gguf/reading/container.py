"""Reads the header of a GGUF file: its fields and the descriptions of its tensors. All of it may be hostile.

A file is: magic, version, the number of tensors and of fields; each field with its key, its type and its value; each
tensor with its name, its axes, its type and its offset; and from the next multiple of the alignment on, the data.
Numbers are little-endian. Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

Every length is compared with the bytes that are left before anything is read, and arrays are only skipped: their
elements are read when a field is asked for. So memory grows with the fields that are used, and never with the claims of
a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra.errors import WeightsFileError
from vertebra_gguf.reading.cursor import Cursor, Truncated, Unsound
from vertebra_gguf.reading.encodings import ENCODINGS, Encoding
from vertebra_gguf.reading.fields import Field, Fields

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
MOST_HEADER_BYTES = 64 * 2**20
"""The longest known header, of a vocabulary of 262,144 tokens, has 16 MiB."""
_MOST_FIELDS, _MOST_TENSORS = 10_000, 100_000
_MOST_AXES, _LONGEST_NAME, _LONGEST_KEY = 4, 64, 65_535
_ALIGNMENT, _MOST_ALIGNMENT = 32, 2**16
READ_WITH_HEADER = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Small tensors that belong to the config: it has the numbers of which they were computed."""
_START = 64 * 2**10
"""Bytes of a remote file that are read first; more are read, twice as many each time, if the header is longer."""
_LOOKALIKES = {
    b"version https://git-lfs": "a git-lfs pointer, not the file itself",
    b"lmgg": "a file of llama.cpp before GGUF",
    b"tjgg": "a file of llama.cpp before GGUF",
    b"fmgg": "a file of llama.cpp before GGUF",
    b"<": "a web page",
    b"PK\x03\x04": "a zip archive",
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """The description of a tensor."""

    name: str
    encoding: Encoding
    shape: tuple[int, ...]
    """The sizes of its axes, the outermost first, as NumPy has them; the file has the innermost first."""
    start: int
    """Offset of its first byte in the file."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Container:
    """The header of a file."""

    fields: Fields
    tensors: dict[str, StoredTensor]
    """The tensors by name, in the order of the file."""


def read_container(path: Path, data: memoryview) -> Container:
    """Reads the header of a file.

    Raises:
        WeightsFileError: the file is unsound, or in a form that is not read.
    """
    try:
        return _read(data, data[:MOST_HEADER_BYTES])
    except Truncated as error:
        is_long = len(data) > MOST_HEADER_BYTES
        limit = f"its header is longer than {MOST_HEADER_BYTES:,} bytes" if is_long else f"it is truncated in {error}"
        raise WeightsFileError(path, limit, "Copy or download the file again") from None
    except Unsound as error:
        raise WeightsFileError(path, str(error), error.remedy) from None


def header_end(first: bytes) -> int:
    """Returns the bytes at the beginning of a file that its header needs, as far as the first ones tell."""
    try:
        container = _read(None, memoryview(first))
        small = [container.tensors[name] for name in READ_WITH_HEADER if name in container.tensors]
        ends = [one.start + one.size for one in small if one.start + one.size <= MOST_HEADER_BYTES]
        return max([container.fields.end, *ends])
    except Truncated:
        return min(max(_START, 2 * len(first)), MOST_HEADER_BYTES)
    except Unsound:
        return len(first)  # `read_container` says why


def _read(data: memoryview | None, header: memoryview) -> Container:
    """Reads a header; `data` is the whole file, or None if it is not here."""
    cursor = Cursor(header)
    _check_start(header)
    cursor.skip(len(MAGIC), "its magic number")
    _check_version(cursor.number("I", "its version"))
    tensor_count, field_count = cursor.number("Q", "its counts"), cursor.number("Q", "its counts")
    if tensor_count > _MOST_TENSORS or field_count > _MOST_FIELDS:
        raise Unsound(
            f"it declares {tensor_count:,} tensors and {field_count:,} fields; at most {_MOST_TENSORS:,} and "
            f"{_MOST_FIELDS:,} are read"
        )
    table = _fields(cursor, field_count)
    described = [_tensor(cursor, number) for number in range(tensor_count)]
    alignment = _alignment(table)
    start = -(-cursor.position // alignment) * alignment
    tensors: dict[str, StoredTensor] = {}
    for one in described:
        if one.name in tensors:
            raise Unsound(f"two tensors have the name {one.name!r}")
        tensors[one.name] = _at(one, start, alignment, None if data is None else len(data))
    _check_overlaps(tensors)
    return Container(Fields(header, table, cursor.position), tensors)


def _check_start(header: memoryview) -> None:
    start = bytes(header[:24])
    if start[: len(MAGIC)] == MAGIC or not start or MAGIC.startswith(start):
        return
    other = next((meaning for magic, meaning in _LOOKALIKES.items() if start.startswith(magic)), None)
    raise Unsound("it is not a GGUF file" + (f"; it looks like {other}" if other else ""))


def _check_version(version: int) -> None:
    if version in _VERSIONS:
        return
    if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
        raise Unsound(
            "it is big-endian, and only little-endian files are read",
            "Convert it with gguf_convert_endian.py of llama.cpp",
        )
    raise Unsound(
        f"it has version {version} of GGUF; versions 2 and 3 are read",
        "Convert the model again with a present llama.cpp",
    )


def _fields(cursor: Cursor, count: int) -> dict[str, Field]:
    table: dict[str, Field] = {}
    for number in range(count):
        key = cursor.text(_LONGEST_KEY, f"the key of field {number}")
        if key in table:
            raise Unsound(f"two fields have the key {key!r}")
        table[key] = Field.read(cursor, key)
    return table


def _tensor(cursor: Cursor, number: int) -> StoredTensor:
    """Reads the description of a tensor; its start is the offset after the header."""
    name = cursor.text(_LONGEST_NAME, f"the name of tensor {number}")
    axes = cursor.number("I", f"the axes of {name!r}")
    if not 0 < axes <= _MOST_AXES:
        raise Unsound(f"tensor {name!r} has {axes} axes, expected 1 to {_MOST_AXES}")
    shape = tuple(cursor.number("Q", f"the axes of {name!r}") for _ in range(axes))[::-1]
    kind = cursor.number("I", f"the type of {name!r}")
    encoding = ENCODINGS.get(kind)
    if encoding is None:
        known = ", ".join(one.name for one in ENCODINGS.values())
        raise Unsound(
            f"tensor {name!r} is of type {kind}; the types that are read are {known}",
            "Use a file of another quantisation, such as Q4_K_M or Q8_0",
        )
    offset = cursor.number("Q", f"the offset of {name!r}")
    if min(shape) < 1 or max(shape) >= 2**31 or shape[-1] % encoding.block:
        raise Unsound(f"tensor {name!r} has the shape {list(shape)}, which {encoding.name} cannot have")
    return StoredTensor(name, encoding, shape, offset, math.prod(shape) // encoding.block * encoding.size)


def _alignment(table: dict[str, Field]) -> int:
    field = table.get("general.alignment")
    alignment: Any = _ALIGNMENT if field is None else field.scalar
    if type(alignment) is not int or not 8 <= alignment <= _MOST_ALIGNMENT or alignment % 8:
        raise Unsound(f"general.alignment is {alignment!r}, expected a multiple of 8, at most {_MOST_ALIGNMENT:,}")
    return alignment


def _at(one: StoredTensor, start: int, alignment: int, size: int | None) -> StoredTensor:
    """Returns a tensor with its offset in the file; a file that is not here has no size."""
    begin = start + one.start
    if one.start % alignment:
        raise Unsound(f"tensor {one.name!r} begins at {one.start:,}, which is no multiple of {alignment}")
    if size is not None and begin + one.size > size:
        raise Unsound(
            f"it is truncated: tensor {one.name!r} ends at byte {begin + one.size:,}, and the file has {size:,}",
            "Copy or download the file again",
        )
    return StoredTensor(one.name, one.encoding, one.shape, begin, one.size)


def _check_overlaps(tensors: dict[str, StoredTensor]) -> None:
    end, before = 0, ""
    for one in sorted(tensors.values(), key=lambda one: one.start):
        if one.start < end:
            raise Unsound(f"the tensors {before!r} and {one.name!r} overlap")
        end, before = one.start + one.size, one.name
