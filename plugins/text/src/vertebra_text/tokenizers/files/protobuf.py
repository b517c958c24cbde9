"""The wire format of protocol buffers, as far as SentencePiece's files need it.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MOST_VARINT = 10
"""The most bytes of a varint of 64 bits."""

Value = int | bytes
"""A varint as an unsigned int of 64 bits, or the bytes of any other field."""


def read_fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Yields number and value of each field of a message, in the order of the bytes.

    Raises:
        ValueError: the bytes are no message.
    """
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if not number:
            raise ValueError(f"field 0 at byte {position}")
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == _BYTES:
            size, position = _varint(data, position)
        elif kind in _FIXED_SIZES:
            size = _FIXED_SIZES[kind]
        else:
            raise ValueError(f"wire type {kind} at byte {position}")
        if size > len(data) - position:
            raise ValueError(f"a field of {size} bytes at byte {position}, of {len(data)}")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[position : position + _MOST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & (2**64 - 1), position + index + 1
    raise ValueError(f"no end of the number at byte {position}")


def signed(value: int) -> int:
    """Returns an int32 of a varint: negative numbers are stored as 64 bits in two's complement."""
    return value - 2**64 if value >= 2**63 else value


def float_of(value: bytes) -> float:
    """Returns a float of four bytes.

    Raises:
        ValueError: there are more or fewer.
    """
    if len(value) != 4:
        raise ValueError(f"a float of {len(value)} bytes")
    (number,) = struct.unpack("<f", value)
    return float(number)


def field(number: int, value: bool | int | float | str | bytes) -> bytes:
    """Returns the bytes of a field; a float is written in four bytes."""
    if isinstance(value, float):
        return _number(number << 3 | _FIXED32) + struct.pack("<f", value)
    if isinstance(value, int):
        return _number(number << 3 | _VARINT) + _number(value % 2**64)
    data = value.encode() if isinstance(value, str) else value
    return _number(number << 3 | _BYTES) + _number(len(data)) + data


def _number(value: int) -> bytes:
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)
