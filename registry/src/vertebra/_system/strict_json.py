"""Strict JSON: rejects repeated keys, NaN, huge numbers and other input that the standard parser accepts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vertebra._system.regular_files import problem_of, read_limited
from vertebra.errors import PresetConfigError, VertebraError

MOST_BYTES = 8 * 2**20
_MOST_SEPARATORS = 1_500_000
"""The most brackets and commas in a file: a value costs far more time and memory than its bytes in the file. The
header of 100,000 tensors has about 1,000,000 of them."""
MOST_DIGITS = 30
_LOOKALIKES = {
    b"version https://git-lfs": "it is a git-lfs pointer, not the file itself",
    b"<": "it is a web page, such as a login page",
    b"\xff\xfe": "it is UTF-16 text, expected UTF-8",
    b"\xfe\xff": "it is UTF-16 text, expected UTF-8",
    b"PK\x03\x04": "it is a zip archive",
}
"""Other files that are found in place of JSON, by their first bytes."""
_FIRST = 100
"""The number of bytes in which these are looked for."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file.

    Raises:
        PresetConfigError: the file is too large, is not one JSON object in UTF-8, repeats a key, holds a number that
            JSON does not have, or is nested too deeply.
    """
    return parse_json(limited_bytes(path), lambda problem: PresetConfigError(path, problem))


def read_json_array(path: Path) -> list[Any]:
    """Reads a JSON array from a file.

    Raises:
        PresetConfigError: as for `read_json`.
    """
    value = _parse(limited_bytes(path), lambda problem: PresetConfigError(path, problem))
    if not isinstance(value, list):
        raise PresetConfigError(path, f"it holds a {type(value).__name__}, expected an array")
    return value


def parse_json(data: bytes, failure: Callable[[str], VertebraError]) -> dict[str, Any]:
    """Parses a JSON object; an invalid one is raised as `failure(problem)`."""
    return require_object(_parse(data, failure), failure)


def dump_json(value: object) -> bytes:
    """Returns JSON in a readable form, with indentation."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def limited_bytes(path: Path) -> bytes:
    """Returns the bytes of a JSON file.

    Raises:
        PresetConfigError: it is too large, is not a regular file, or cannot be read.
        FileNotFoundError: it is missing.
    """
    try:
        return read_limited(path, MOST_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        remedy = "Make the file readable" if isinstance(error, PermissionError) else ""
        raise PresetConfigError(path, problem_of(error), remedy) from error


def decoded(data: bytes, failure: Callable[[str], VertebraError]) -> str:
    """Returns the text of a JSON document, if it is not too large; problems are raised as `failure(problem)`."""
    start = data[:_FIRST].lstrip()
    other = next((problem for magic, problem in _LOOKALIKES.items() if start.startswith(magic)), None)
    if other or not (start or data.strip()):
        raise failure(other or "it is empty")
    check_parts(data, failure)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise failure(f"it is not UTF-8 text ({error.reason} at byte {error.start})") from error


def check_parts(data: bytes, failure: Callable[[str], VertebraError]) -> None:
    """Raises `failure(problem)` for JSON of so many values that they would take far more memory than its bytes."""
    separators = sum(map(data.count, (b"[", b"{", b",")))
    if separators > _MOST_SEPARATORS:
        raise failure(f"it has {separators} brackets and commas; at most {_MOST_SEPARATORS} are allowed")


def strict_value(text: str) -> Any:
    """Returns the value of a JSON document.

    Raises:
        ValueError, RecursionError: the text is not strict JSON, or is nested too deeply.
    """
    value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_int, parse_float=_float)
    check_writable(text, value)
    return value


def check_writable(text: str, value: Any) -> None:
    """Raises ValueError for a lone surrogate, which can be read, but not written."""
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()


def invalid(error: ValueError | RecursionError) -> str:
    """Returns the problem with a text that is not JSON."""
    return f"it is not valid JSON ({error})"


def _parse(data: bytes, failure: Callable[[str], VertebraError]) -> Any:
    text = decoded(data, failure)
    try:
        return strict_value(text)
    except (ValueError, RecursionError) as error:
        raise failure(invalid(error)) from error


def require_object(value: Any, failure: Callable[[str], VertebraError]) -> dict[str, Any]:
    """Returns a value that must be an object; any other one is raised as `failure(problem)`."""
    if not isinstance(value, dict):
        raise failure(f"it holds a {type(value).__name__}, expected an object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is repeated in one object")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _int(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:40]} is out of range")
    return value
