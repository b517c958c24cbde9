"""The layout of a cache folder: the paths of blobs, manifest entries and refs."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile


def key_of(*parts: str) -> str:
    """Returns a file name for a handle or other texts; it is valid on every file system."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def blob_path(root: Path, sha256: str) -> Path:
    """Returns the path of a blob in a cache folder."""
    return root / "blobs" / sha256[:2] / sha256


def sha256_of(file: PresetFile) -> str | None:
    """Returns the SHA-256 that a source lists for a file, or None if it lists another digest or none."""
    algorithm, _, value = (file.digest or "").partition(":")
    return value.lower() if algorithm == "sha256" and is_hexadecimal(value.lower()) else None


def is_regular_file(path: Path, size: int | None) -> bool:
    """Returns whether a path is a regular file, not a link, and has a size; None allows any size."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and size in (None, status.st_size)


def preset_path(root: Path, handle: PresetHandle) -> Path:
    """Returns the path of the file list of a pinned preset in a cache folder."""
    return root / "presets" / key_of(str(handle)) / "preset.json"


def file_path(root: Path, handle: PresetHandle, name: str) -> Path:
    """Returns the path of the record of one file of a pinned preset in a cache folder."""
    return root / "presets" / key_of(str(handle)) / "files" / f"{key_of(name)}.json"


def ref_path(root: Path, handle: PresetHandle) -> Path:
    """Returns the path of the ref of an unpinned handle in a cache folder."""
    return root / "refs" / f"{key_of(str(handle))}.json"


def is_hexadecimal(text: object) -> bool:
    """Returns whether a value has the form of a SHA-256: 64 lower-case hexadecimal digits."""
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")
