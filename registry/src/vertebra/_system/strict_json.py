"""Strict JSON: rejects repeated keys, NaN, huge numbers and other input that the standard parser accepts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vertebra.errors import PresetConfigError, VertebraError

MOST_BYTES = 8 * 2**20
_MOST_SEPARATORS = 1_500_000
"""The most brackets and commas in a file: a value costs far more time and memory than its bytes in the file. The
header of 100,000 tensors has about 1,000,000 of them."""
_MOST_DIGITS = 30
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file.

    Raises:
        PresetConfigError: the file is too large, is not one JSON object in UTF-8, repeats a key, holds a number that
            JSON does not have, or is nested too deeply.
    """
    return parse_json(_read_limited(path), lambda problem: PresetConfigError(path, problem))


def read_json_array(path: Path) -> list[Any]:
    """Reads a JSON array from a file.

    Raises:
        PresetConfigError: as for `read_json`.
    """
    value = _parse(_read_limited(path), lambda problem: PresetConfigError(path, problem))
    if not isinstance(value, list):
        raise PresetConfigError(path, f"it holds a {type(value).__name__}, expected an array")
    return value


def parse_json(data: bytes, failure: Callable[[str], VertebraError]) -> dict[str, Any]:
    """Parses a JSON object; an invalid one is raised as `failure(problem)`."""
    value = _parse(data, failure)
    if not isinstance(value, dict):
        raise failure(f"it holds a {type(value).__name__}, expected an object")
    return value


def dump_json(value: object) -> bytes:
    """Returns JSON in a readable form, with indentation."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _read_limited(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise PresetConfigError(path, f"it has {size} bytes; a configuration has at most {MOST_BYTES}")
    return path.read_bytes()


def _parse(data: bytes, failure: Callable[[str], VertebraError]) -> Any:
    separators = sum(map(data.count, (b"[", b"{", b",")))
    if separators > _MOST_SEPARATORS:
        raise failure(f"it has {separators} brackets and commas; at most {_MOST_SEPARATORS} are allowed")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise failure(f"it is not UTF-8 text ({error.reason} at byte {error.start})") from error
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_int, parse_float=_float
        )
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate can be read, but not written
    except (ValueError, RecursionError) as error:
        raise failure(f"it is not valid JSON ({error})") from error
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
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:40]} is out of range")
    return value
