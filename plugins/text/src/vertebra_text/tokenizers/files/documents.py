"""Reads the fields that matter from JSON files of other libraries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from vertebra import PresetFiles
from vertebra.errors import PresetConfigError

MOST_BYTES = 512 * 2**20
"""The largest file of a tokenizer that is read; the largest known one has 33 MB."""
_LOOKALIKES = {
    b"version https://git-lfs": "it is a git-lfs pointer, not the file itself",
    b"<!": "it is a web page, such as a login page",
    b"<html": "it is a web page, such as a login page",
}
_FIRST = 64
NO_LIMIT = 10**9
"""transformers writes 10³⁰ for a tokenizer without a limit."""

Check = Callable[[Any], bool]


def read_fields(files: PresetFiles, name: str, wanted: Callable[[str], bool] = bool) -> dict[str, Any]:
    """Returns the fields of a JSON object; an empty object if the preset has no such file.

    Args:
        files: The preset.
        name: Name of the file.
        wanted: Says whether a field of this name matters: such a field must not have two values.

    Raises:
        PresetConfigError: the file is no JSON object, or a field that matters is not clear.
    """
    if name not in files.names:
        return {}

    def read(value: Mapping[str, Any]) -> dict[str, Any]:
        return {field: _limit(item) if field == "model_max_length" else item for field, item in value.items()}

    return files.json(name).read(read, lambda fields: {field: fields[field] for field in fields if wanted(field)})


def _limit(value: object) -> Any:
    """Returns a limit of tokens, or None for none: an int of 31 digits, which is not a number for each reader."""
    if isinstance(value, bool | str | list | dict):
        return value
    return value if isinstance(value, int) and value < NO_LIMIT else None


def stored_name(names: Collection[str], name: str, format: str) -> str:
    """Returns the name under which a preset stores a file of a format, or no text if it has none.

    A preset of another format, which has another file of this name, stores it in the folder `carried`.
    """
    return next((stored for stored in (name, f"carried/{format}/{name}") if stored in names), "")


def read_bytes(path: Path, name: str, most: int = MOST_BYTES) -> bytes:
    """Returns the bytes of a tokenizer's file, or of another one that belongs to a task.

    Args:
        path: The path, as the preset's `fetch` returns it: a regular file.
        name: Name of the file, for messages.
        most: The most bytes that are read.

    Raises:
        PresetConfigError: the file is too large, is empty, or is another file in its place.
    """
    size = path.stat().st_size
    if size > most:
        raise PresetConfigError(name, f"it has {size:,} bytes; at most {most:,} are read")
    data = path.read_bytes()
    start = data[:_FIRST].lstrip().lower()
    other = next((problem for magic, problem in _LOOKALIKES.items() if start.startswith(magic)), None)
    if other or not start:
        raise PresetConfigError(name, other or "it is empty")
    return data


def checked(subject: str, fields: Mapping[str, Any], name: str, default: Any, check: Check, expected: str) -> Any:
    """Returns a field, or its default if it is missing or null.

    Raises:
        PresetConfigError: the value is not as expected.
    """
    value = fields.get(name)
    if value is None:
        return default
    if not check(value):
        raise PresetConfigError(subject, f"{name} is {_shown(value)}, expected {expected}")
    return value


def _shown(value: object) -> str:
    return repr(value)[:100]


def is_flag(value: object) -> bool:
    return isinstance(value, bool)


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def is_small(value: object) -> bool:
    return is_count(value) and value <= 10_000  # type: ignore[operator]


def is_side(value: object) -> bool:
    return value in ("left", "right")
