"""The fields of a GGUF file: numbers, texts, and arrays of them, which are read when they are asked for."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from vertebra.errors import PresetConfigError
from vertebra_gguf.reading.cursor import Cursor, Truncated, Unsound

T = TypeVar("T")
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""The formats of `struct` by the number of a type; 8 is a text, and 9 an array."""
_TEXT, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_LONGEST_TEXT = 4 * 2**20
"""The longest known text is a chat template of 30 kB."""
_MOST_ELEMENTS = 2**20
"""The longest known array, of the merges of Gemma, has half as many; a token or a merge takes up to nine times its bytes."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its value, or for an array the type of its elements, their number, and where they are."""

    scalar: int | float | bool | str | None
    kind: int = 0
    count: int = 0
    start: int = 0

    @property
    def is_array(self) -> bool:
        return self.scalar is None

    @classmethod
    def read(cls, cursor: Cursor, key: str) -> Field:
        """Reads a field after its key; elements of arrays are skipped."""
        part = f"the field {key!r}"
        kind = cursor.number("I", part)
        if kind != _ARRAY:
            return cls(_scalar(cursor, kind, part))
        kind, count = cursor.number("I", part), cursor.number("Q", part)
        if kind not in _NUMBERS and kind != _TEXT:
            raise Unsound(f"{part} is an array of type {kind}, expected numbers or texts")
        if count > _MOST_ELEMENTS:
            raise Unsound(f"{part} has {count:,} elements; at most {_MOST_ELEMENTS:,} are read")
        start = cursor.position
        if kind == _TEXT:
            _skip_texts(cursor, count, part)
        else:
            cursor.skip(count * struct.calcsize(_NUMBERS[kind]), part)
        return cls(None, kind, count, start)


def _scalar(cursor: Cursor, kind: int, part: str) -> int | float | bool | str:
    if kind == _TEXT:
        return cursor.text(_LONGEST_TEXT, part)
    if kind not in _NUMBERS:
        raise Unsound(f"{part} is of type {kind}, which GGUF does not have")
    format = _NUMBERS[kind]
    start = cursor.position
    cursor.skip(struct.calcsize(format), part)
    value: int | float | bool = struct.unpack_from(f"<{format}", cursor.data, start)[0]
    return value


def _skip_texts(cursor: Cursor, count: int, part: str) -> None:
    data, position, end = cursor.data, cursor.position, cursor.position + cursor.left
    unpack = _LENGTH.unpack_from
    for _ in range(count):
        if position + 8 > end:
            raise Truncated(part)
        position += 8 + unpack(data, position)[0]
    if position > end:
        raise Truncated(part)
    cursor.skip(position - cursor.position, part)


class Fields:
    """All fields of a file; each is checked when it is asked for.

    Args:
        data: The bytes of the header.
        table: The fields by key.
        end: The end of the header.
    """

    def __init__(self, data: memoryview, table: Mapping[str, Field], end: int) -> None:
        self._data, self._table, self.end = data, table, end

    def __contains__(self, key: str) -> bool:
        return key in self._table

    def keys(self) -> list[str]:
        return list(self._table)

    def text(self, key: str, default: str | None = None) -> str:
        return self._one(key, default, lambda value: isinstance(value, str), "a text")

    def flag(self, key: str, default: bool | None = None) -> bool:
        return self._one(key, default, lambda value: isinstance(value, bool), "a bool")

    def number(self, key: str, default: float | None = None) -> float:
        return self._one(key, default, _is_number, "a number")

    def count(self, key: str, default: int | None = None) -> int:
        """Returns an int; an array of one value for each layer is read if all are the same."""
        field = self._table.get(key)
        if field is not None and field.is_array and field.kind != _TEXT and 0 < field.count <= 10_000:
            values = set(self.numbers(key))
            if len(values) == 1 and isinstance(value := values.pop(), int) and value >= 0:
                return value
        return self._one(
            key, default, lambda value: type(value) is int and 0 <= value < 2**31, "an int, the same for all layers"
        )

    def numbers(self, key: str) -> list[Any]:
        """Returns the elements of an array of numbers."""
        field = self._array(key, lambda kind: kind != _TEXT, "numbers")
        return list(struct.unpack_from(f"<{field.count}{_NUMBERS[field.kind]}", self._data, field.start))

    def texts(self, key: str) -> list[str]:
        """Returns the elements of an array of texts.

        Raises:
            PresetConfigError: one is not UTF-8.
        """
        field = self._array(key, lambda kind: kind == _TEXT, "texts")
        found, position = [], field.start
        try:
            for _ in range(field.count):
                start = position + 8
                position = start + _LENGTH.unpack_from(self._data, position)[0]
                found.append(str(self._data[start:position], "utf-8"))
        except UnicodeDecodeError:
            raise self.refusal(key, "is not UTF-8") from None
        return found

    def refusal(self, key: str, problem: str, remedy: str = "") -> PresetConfigError:
        """Returns the error for a field that cannot be used."""
        return PresetConfigError("the GGUF header", f"{key} {problem}", remedy)

    def value(self, key: str) -> int | float | bool | str | None:
        """Returns the value of a field of any type; None if it is missing, or an array."""
        return self._table[key].scalar if key in self._table else None

    def _one(self, key: str, default: T | None, check: Callable[[Any], bool], expected: str) -> T:
        if key not in self._table:
            if default is None:
                raise self.refusal(key, "is missing")
            return default
        value: Any = self._table[key].scalar
        if not check(value):
            shown = "an array" if self._table[key].is_array else repr(value)[:100]
            raise self.refusal(key, f"is {shown}, expected {expected}")
        return value  # type: ignore[no-any-return]

    def _array(self, key: str, check: Callable[[int], bool], expected: str) -> Field:
        field = self._table.get(key)
        if field is None or not field.is_array or not check(field.kind):
            raise self.refusal(key, "is missing" if field is None else f"is not an array of {expected}")
        return field


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
