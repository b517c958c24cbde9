"""The small JSON entries of a cache folder: file lists, records and refs, read leniently."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra._cache.layout import is_hexadecimal
from vertebra._system.strict_json import parse_json
from vertebra.errors import HandleError, PresetConfigError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

Entry = dict[str, Any]
"""A small JSON file."""


@dataclass(frozen=True, slots=True)
class Record:
    """Which content a file of a preset has."""

    name: str
    size: int
    sha256: str


def read_entry(path: Path) -> Entry | None:
    """Reads a note; one that is missing or damaged says nothing, and what it was about is fetched again."""
    try:
        return parse_json(path.read_bytes(), lambda problem: PresetConfigError(path, problem))
    except (OSError, PresetConfigError):
        return None


def record_in(entry: Entry) -> Record | None:
    """Returns which content a file has, if that is what a note says."""
    name, size, sha256 = (entry.get(field) for field in ("name", "size", "sha256"))
    if isinstance(name, str) and type(size) is int and isinstance(sha256, str) and is_hexadecimal(sha256):
        return Record(name, size, sha256)
    return None


def file_list_in(entry: Entry) -> list[PresetFile] | None:
    """Returns which files a preset has, if that is what a note says."""
    with contextlib.suppress(TypeError, KeyError, ValueError, AttributeError):
        return [PresetFile(str(f["name"]), int(f["size"]), None, _text(f.get("digest"))) for f in entry["files"]]
    return None


def ref_in(entry: Entry) -> PresetHandle | None:
    """Returns what a handle meant, if that is what a note says."""
    with contextlib.suppress(HandleError, KeyError, TypeError, AttributeError):
        return PresetHandle.parse(entry["pinned"])
    return None


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(value)
    return value
