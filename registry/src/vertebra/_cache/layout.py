"""The layout of a cache folder: where blobs, manifests and refs are, and which names they get."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile


def key_of(*parts: str) -> str:
    """Returns a file name for a handle or other texts, the same on every file system."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def blob_path(root: Path, sha256: str) -> Path:
    """Returns where a cache folder has a content."""
    return root / "blobs" / sha256[:2] / sha256


def sha256_of(file: PresetFile) -> str | None:
    """Returns the SHA-256 that a source promises of a file, or None if it promises none."""
    algorithm, _, value = (file.digest or "").partition(":")
    return value.lower() if algorithm == "sha256" and is_hexadecimal(value.lower()) else None


def is_sound(path: Path, size: int | None) -> bool:
    """Says whether a path is a file, itself and not a link, of a size."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(facts.st_mode) and size in (None, facts.st_size)


def preset_path(root: Path, handle: PresetHandle) -> Path:
    """Returns where a cache folder notes which files a pinned preset has."""
    return root / "presets" / key_of(str(handle)) / "preset.json"


def file_path(root: Path, handle: PresetHandle, name: str) -> Path:
    """Returns where a cache folder notes which content a file has."""
    return root / "presets" / key_of(str(handle)) / "files" / f"{key_of(name)}.json"


def ref_path(root: Path, handle: PresetHandle) -> Path:
    """Returns where a cache folder notes what an unpinned handle meant."""
    return root / "refs" / f"{key_of(str(handle))}.json"


def is_hexadecimal(text: object) -> bool:
    """Says whether a text can be a SHA-256."""
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")
