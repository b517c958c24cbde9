"""Layout of a preset that Vertebra has published in a bucket.

    PREFIX/REVISION/NAME          a file of the preset
    PREFIX/REVISION/vertebra.json the manifest: names, sizes and SHA-256 hashes of the files; written after the files
    PREFIX/vertebra.json          the pointer: the current revision of the prefix, with its manifest
    PREFIX/vertebra.NAME.json     the pointer of a named revision; characters that are unsafe in keys are escaped, as
                                  in `=2F`

A REVISION is a hash of the manifest, so an object never changes and never belongs to two presets. The pointer is one
object and written last: writing it publishes the preset.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from vertebra import PresetFile, PresetHandle
from vertebra.errors import HandleError, IntegrityError, PresetConfigError, SourceUnavailableError

MANIFEST = "vertebra.json"
FORMAT = 1
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_MANIFEST_REVISION = re.compile(r"[0-9a-f]{32}")
_LIST_REVISION = re.compile(r"list-[0-9a-f]{32}")
_LONGEST_NAME = 200
_ESCAPED = re.compile(rb"[^A-Za-z0-9._-]")
_POINTER = re.compile(r"vertebra(?:\.([^/]+))?\.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Location:
    """A prefix in a bucket."""

    bucket: str
    prefix: str
    """Empty, or with a slash at the end."""

    def key(self, *names: str) -> str:
        """Returns the key of an object below the prefix."""
        return self.prefix + "/".join(names)


def location_of(handle: PresetHandle) -> Location:
    """Returns the bucket and the prefix that a handle names.

    Raises:
        HandleError: the handle names no valid bucket.
    """
    bucket, _, prefix = handle.path.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise HandleError(str(handle), f"{bucket!r} is not a valid name of a bucket")
    return Location(bucket, f"{prefix}/" if prefix else "")


# === Revisions ===


def is_manifest_revision(revision: str | None) -> bool:
    """Returns whether a revision is the hash of a manifest."""
    return _MANIFEST_REVISION.fullmatch(revision or "") is not None


def is_list_revision(revision: str | None) -> bool:
    """Returns whether a revision is a hash of a list of files that other tools have written."""
    return _LIST_REVISION.fullmatch(revision or "") is not None


def is_sha256(text: object) -> bool:
    """Returns whether a text has the form of a SHA-256 hash."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def pointer_name(handle: PresetHandle) -> str:
    """Returns the name of the pointer of an unpinned handle.

    Raises:
        HandleError: the revision is too long.
    """
    if handle.revision is None:
        return MANIFEST
    name = _ESCAPED.sub(lambda match: b"=%02X" % match[0][0], handle.revision.encode()).decode()
    if len(name) > _LONGEST_NAME:
        raise HandleError(str(handle), "its revision is too long for the name of an object", "Write a shorter one")
    return f"vertebra.{name}.json"


def is_published(name: str) -> bool:
    """Returns whether an object below a prefix belongs to a preset that Vertebra has published there."""
    *folders, last = name.split("/")
    return _POINTER.fullmatch(last) is not None or any(map(_MANIFEST_REVISION.fullmatch, folders))


def revisions(names: Iterable[str]) -> list[str]:
    """Returns the named revisions whose pointers are among the objects below a prefix."""
    escaped = [match[1] for name in names if (match := _POINTER.fullmatch(name)) and match[1]]
    return [unquote(name.replace("%", "%25").replace("=", "%")) for name in escaped]


# === Documents ===


def manifest(files: Iterable[PresetFile]) -> bytes:
    """Returns the manifest of files; equal files have equal manifests."""
    listed = [{"name": f.name, "sha256": (f.digest or "").partition(":")[2], "size": f.size} for f in files]
    return _document({"files": sorted(listed, key=lambda file: str(file["name"])), "format": FORMAT})


def revision_of(data: bytes) -> str:
    """Returns the revision of a manifest: its hash."""
    return hashlib.sha256(data).hexdigest()[:32]


def pointer(data: bytes) -> bytes:
    """Returns the pointer to the preset of a manifest."""
    return _document({**json.loads(data), "revision": revision_of(data)})


def read_pointer(handle: PresetHandle, data: bytes) -> tuple[str, list[PresetFile]]:
    """Returns the revision and the files that a pointer names.

    Raises:
        SourceUnavailableError, PresetConfigError, IntegrityError: the bytes are not a pointer, or corrupt.
    """
    facts = _facts(handle, data)
    if "revision" not in facts:
        folder, _, last = handle.path.rpartition("/")
        remedy = f"Name the preset and its revision: {PresetHandle(handle.scheme, folder, last)}" if folder else ""
        problem = f"its {MANIFEST} is not a pointer to a preset"
        raise PresetConfigError(
            f"Preset {str(handle)!r}", problem, remedy if is_manifest_revision(last) else "Push it again"
        )
    return str(facts["revision"]), _checked(handle, facts, str(facts["revision"]))


def read_manifest(handle: PresetHandle, data: bytes) -> list[PresetFile]:
    """Returns the files that the manifest of a pinned handle names.

    Raises:
        SourceUnavailableError, PresetConfigError, IntegrityError: the bytes are not the manifest of the revision.
    """
    return _checked(handle, _facts(handle, data), str(handle.revision))


def _checked(handle: PresetHandle, facts: dict[str, Any], revision: str) -> list[PresetFile]:
    try:
        files = [_file(file) for file in facts["files"]]
    except (KeyError, TypeError, ValueError):
        raise PresetConfigError(f"Preset {str(handle)!r}", f"the file list in its {MANIFEST} is malformed") from None
    actual = revision_of(manifest(files))
    if actual != revision:
        problem = f"it lists the files of revision {actual}, expected {revision[:40]}"
        raise IntegrityError(handle, MANIFEST, problem, "Push the preset again")
    return files


def _facts(handle: PresetHandle, data: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError):
        problem = f"its {MANIFEST} is not JSON; a proxy or login page may be in the way"
        raise SourceUnavailableError(handle, problem) from None
    version = facts.get("format") if isinstance(facts, dict) else None
    if version != FORMAT:
        remedy = "Update vertebra-s3" if isinstance(version, int) else "Push the preset again, or to another prefix"
        raise PresetConfigError(f"Preset {str(handle)!r}", f"the format of its {MANIFEST} is unknown", remedy)
    return facts


def _file(facts: dict[str, Any]) -> PresetFile:
    name, size, sha256 = facts["name"], facts["size"], facts["sha256"]
    if not isinstance(name, str) or type(size) is not int or size < 0 or not is_sha256(sha256):
        raise ValueError(name)
    return PresetFile(name, size, None, f"sha256:{sha256}")


def _document(facts: dict[str, Any]) -> bytes:
    return (json.dumps(facts, indent=1, sort_keys=True) + "\n").encode()
