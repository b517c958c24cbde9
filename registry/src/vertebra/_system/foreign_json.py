"""JSON that other libraries write: read as Python's parser reads it, as long as that has one meaning.

Python writes and reads NaN, and of a repeated key it keeps the last value. A config with either still describes one
model if the field in question does not matter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vertebra._system.strict_json import (
    MOST_DIGITS,
    check_writable,
    decoded,
    invalid,
    limited_bytes,
    require_object,
    strict_value,
)
from vertebra.errors import PresetConfigError, VertebraError

T = TypeVar("T")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class ForeignDocument:
    """A JSON object as Python's parser reads it, and a second reading that shows which values are doubtful."""

    value: dict[str, Any]
    """The object, with NaN as a float and the last value of each repeated key."""
    other: dict[str, Any] | None = None
    """The object with the first value of each repeated key, and an object that equals nothing in place of each number
    that JSON does not have; None if both readings are equal."""
    problem: str | None = None
    """Why the document is not strict JSON, or None if it is."""
    failure: Callable[[str], VertebraError] = VertebraError
    """Returns the error for a problem with the document."""

    @property
    def doubts_text(self) -> str:
        """The doubtful values, with the names of their fields."""
        doubts = [] if self.other is None else _differences(self.value, self.other)
        rest = f" and {len(doubts) - _MOST_NAMED} more" if len(doubts) > _MOST_NAMED else ""
        return "; ".join(doubts[:_MOST_NAMED]) + rest

    def require_strict(self) -> None:
        """Raises an error if the document is not strict JSON."""
        if self.problem is not None:
            raise self.failure(self.problem)

    def read(self, read: Callable[[Mapping[str, Any]], T], meaning: Callable[[T], object]) -> T:
        """Returns `read(value)`, if the doubtful values do not change its meaning.

        Args:
            read: Reads an object.
            meaning: Returns what of a result must not depend on a doubtful value.

        Raises:
            VertebraError: from `failure`, if a doubtful value is used.
        """
        result = read(self.value)
        if self.other is None:
            return result
        try:
            is_clear = meaning(read(self.other)) == meaning(result)
        except Exception:  # a plugin's translation may raise anything for a value that it does not expect
            is_clear = False
        if not is_clear:
            raise self.failure(f"values that matter are not clear: {self.doubts_text}")
        return result


def read_foreign_json(path: Path) -> ForeignDocument:
    """Reads a JSON object of another library from a file.

    Raises:
        PresetConfigError: Python's parser cannot read it as an object, or a limit of `read_json` is exceeded.
    """
    return parse_foreign_json(limited_bytes(path), lambda problem: PresetConfigError(path, problem))


def parse_foreign_json(data: bytes, failure: Callable[[str], VertebraError]) -> ForeignDocument:
    """Parses a JSON object of another library; an invalid one is raised as `failure(problem)`."""
    text = decoded(data.removeprefix(_BYTE_ORDER_MARK), failure)
    problem = "it begins with a byte order mark" if data.startswith(_BYTE_ORDER_MARK) else None
    other = None
    try:
        value = strict_value(text)
    except (ValueError, RecursionError) as error:
        problem = invalid(error)
        try:
            value, other = json.loads(text), _other_reading(text)
            check_writable(text, value)
            other = other if _differences(value, other) else None
        except (ValueError, RecursionError):
            raise failure(problem) from error
    return ForeignDocument(require_object(value, failure), other, problem, failure)


def is_json(value: Any) -> bool:
    """Returns whether a value can be written as JSON: it has no NaN, no infinity, and no other type than JSON's."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


class _Unusual:
    """A number that JSON does not have, such as NaN, in the second reading; it equals nothing else."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def is_of(self, value: Any) -> bool:
        """Returns whether Python reads this number as that value."""
        return type(value) in (int, float) and repr(value) == repr(json.loads(self._text))


def _other_reading(text: str) -> Any:
    """Reads a text with the first of each repeated key, and with objects that equal nothing for unusual numbers."""
    return json.loads(
        text,
        object_pairs_hook=_first_values,
        parse_constant=_Unusual,
        parse_int=lambda digits: int(digits) if len(digits) <= MOST_DIGITS else _Unusual(digits),
        parse_float=lambda digits: value if math.isfinite(value := float(digits)) else _Unusual(digits),
    )


def _first_values(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, item in pairs:
        value.setdefault(name, item)
    return value


def _differences(value: Any, other: Any, name: str = "") -> list[str]:
    """Returns descriptions of the values that differ in two readings."""
    if isinstance(value, dict) and isinstance(other, dict) and value.keys() == other.keys():
        pairs = [(f"{name}.{key}" if name else key, value[key], other[key]) for key in value]
    elif isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        pairs = [(f"{name}[{index}]", *items) for index, items in enumerate(zip(value, other, strict=True))]
    elif type(value) is type(other) and value == other:
        return []
    elif isinstance(other, _Unusual) and other.is_of(value):
        return [f"{name} is {value}, which is not a number in JSON"]
    else:
        return [f"{name} has two values, {other!r} and {value!r}"]
    return [text for pair in pairs for text in _differences(pair[1], pair[2], pair[0])]
