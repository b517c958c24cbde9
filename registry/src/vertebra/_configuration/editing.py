"""Edits the text of a TOML file: one setting changes, and all other lines stay as the user wrote them.

A library that keeps comments would be a dependency of the core for this one command. Settings are few, and at two
levels, so the text is edited by lines; tomllib reads each result, which is used only if no other setting changed.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

Value = str | bool | float | tuple[str, ...]
_HEADER = re.compile(r"[ \t]*\[")


def with_setting(text: str, table: str, name: str, value: Value) -> str | None:
    """Returns a text of TOML in which a setting has a value, or None if its layout allows no safe change.

    Args:
        text: The text, which must be valid TOML.
        table: Name of the table that has the setting, or an empty text for the top of the file.
        name: Name of the setting.
        value: The value.
    """
    expected = tomllib.loads(text)
    (expected.setdefault(table, {}) if table else expected)[name] = list(value) if isinstance(value, tuple) else value
    lines, end = _lines(text), _line_end(text)
    new = f"{name} = {toml(value)}"
    changed = [
        [*lines[:start], new + _comment(lines[start:stop]) + end, *lines[stop:]] for start, stop in _spans(lines, name)
    ]
    added = [[*lines[:at], new + end, *lines[at:]] for at in (_in_table(lines, table) if table else _at_top(lines))]
    appended = [[*lines, *([end] if lines else []), f"[{table}]{end}", new + end]] if table else [[*lines, new + end]]
    return _first_equal([*changed, *added, *appended], expected)


def without_setting(text: str, table: str, name: str) -> str | None:
    """Returns a text of TOML without a setting, or None if its layout allows no safe change; see `with_setting`."""
    expected = tomllib.loads(text)
    del (expected[table] if table else expected)[name]
    lines = _lines(text)
    return _first_equal([[*lines[:start], *lines[stop:]] for start, stop in _spans(lines, name)], expected)


def toml(value: Value) -> str:
    """Returns a value as TOML: a basic string, a boolean, a number, or an array on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # the one escape that JSON does without


def _first_equal(candidates: list[list[str]], expected: dict[str, Any]) -> str | None:
    return next((text for text in map("".join, candidates) if _loaded(text) == expected), None)


def _loaded(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _lines(text: str) -> list[str]:
    """Returns the lines of a text, each with its end; only the end of the last one may have been missing."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += _line_end(text)
    return lines


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _spans(lines: list[str], name: str) -> Iterator[tuple[int, int]]:
    """Yields the first line of each text that looks like the setting, and the line after its value."""
    start = re.compile(rf"""[ \t]*({re.escape(name)}|"{re.escape(name)}"|'{re.escape(name)}')[ \t]*=""")
    for first, line in enumerate(lines):
        if start.match(line):
            stops = range(first + 1, len(lines) + 1)
            stop = next((stop for stop in stops if _loaded("".join(lines[first:stop])) is not None), None)
            if stop is not None:
                yield first, stop


def _comment(lines: list[str]) -> str:
    """Returns the comment after the value of a setting, with the space before it."""
    text = "".join(lines).rstrip()
    value = _loaded(text)
    for position in (match.start() for match in re.finditer(r"[ \t]*#", text)):
        if "\n" not in text[position:] and _loaded(text[:position]) == value:
            return text[position:]
    return ""


def _at_top(lines: list[str]) -> Iterator[int]:
    """Yields where a setting may be added at the top: before each table, and before the comments above it."""
    for at, line in enumerate(lines):
        if _HEADER.match(line):
            while at and lines[at - 1].lstrip().startswith("#"):
                at -= 1
            while at and not lines[at - 1].strip():
                at -= 1
            yield at


def _in_table(lines: list[str], table: str) -> Iterator[int]:
    header = re.compile(rf"[ \t]*\[[ \t]*{re.escape(table)}[ \t]*\]")
    return (at + 1 for at, line in enumerate(lines) if header.match(line))
