"""The JSON entries of a cache folder: file lists, records and refs. Malformed entries count as missing."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra._cache.layout import is_hexadecimal
from vertebra._system.regular_files import read_limited
from vertebra._system.strict_json import parse_json
from vertebra.errors import HandleError, PresetConfigError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

_MOST_BYTES = 64 * 2**20
"""Largest entry: the file list of a preset with 100,000 files whose names are long."""
Entry = dict[str, Any]
"""The data of one manifest entry, a small JSON file."""


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one file of a preset: its size and the SHA-256 of its blob."""

    name: str
    size: int
    sha256: str
    is_verified: bool = True
    """Whether the bytes were compared with a digest of the source; files from other programs' caches may have none."""


def read_entry(path: Path) -> Entry | None:
    """Reads a manifest entry; returns None if it is missing or damaged, so that its files are fetched again."""
    try:
        return parse_json(read_limited(path, _MOST_BYTES), lambda problem: PresetConfigError(path, problem))
    except (OSError, PresetConfigError):
        return None


def record_in(entry: Entry) -> Record | None:
    """Returns the record in a manifest entry, or None if it has none."""
    name, size, sha256 = (entry.get(field) for field in ("name", "size", "sha256"))
    if isinstance(name, str) and type(size) is int and isinstance(sha256, str) and is_hexadecimal(sha256):
        return Record(name, size, sha256, entry.get("verified") is not False)
    return None


def file_list_in(entry: Entry) -> list[PresetFile] | None:
    """Returns the file list in a manifest entry, or None if it has none."""
    with contextlib.suppress(TypeError, KeyError, ValueError, AttributeError):
        return [PresetFile(str(f["name"]), int(f["size"]), None, _text(f.get("digest"))) for f in entry["files"]]
    return None


def ref_in(entry: Entry) -> PresetHandle | None:
    """Returns the pinned handle in a ref's entry, or None if it has none."""
    with contextlib.suppress(HandleError, KeyError, TypeError, AttributeError):
        return PresetHandle.parse(entry["pinned"])
    return None


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(value)
    return value
