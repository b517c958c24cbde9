"""How a preset lies in a bucket, if Vertebra has put it there.

    PREFIX/REVISION/NAME          its files
    PREFIX/REVISION/vertebra.json the manifest: names, sizes and SHA-256 of the files; the last that is written there
    PREFIX/vertebra.json          the pointer: which revision the prefix has now, with its manifest
    PREFIX/vertebra.NAME.json     the same for a revision that a person has named; `=2F` and so on stand for what no key
                                  should have

A REVISION is what the manifest hashes to, so an object never changes and never belongs to two presets. Writing the
pointer, one object and the last of all, is what publishes a preset.
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
_CONTENT = re.compile(r"[0-9a-f]{32}")
_LISTING = re.compile(r"list-[0-9a-f]{32}")
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
        HandleError: it names no bucket.
    """
    bucket, _, prefix = handle.path.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise HandleError(str(handle), f"no bucket is called {bucket!r}")
    return Location(bucket, f"{prefix}/" if prefix else "")


# === Revisions ===


def is_content(revision: str | None) -> bool:
    """Says whether a revision is that of a manifest."""
    return _CONTENT.fullmatch(revision or "") is not None


def is_listing(revision: str | None) -> bool:
    """Says whether a revision is that of files which other tools have put there."""
    return _LISTING.fullmatch(revision or "") is not None


def is_sha256(text: object) -> bool:
    """Says whether a text can be a SHA-256."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def pointer_name(handle: PresetHandle) -> str:
    """Returns the name of the object that says what an unpinned handle means.

    Raises:
        HandleError: no revision can be called so.
    """
    if handle.revision is None:
        return MANIFEST
    name = _ESCAPED.sub(lambda match: b"=%02X" % match[0][0], handle.revision.encode()).decode()
    if len(name) > _LONGEST_NAME:
        raise HandleError(str(handle), "its revision is too long for the name of an object", "Write a shorter one")
    return f"vertebra.{name}.json"


def is_of_pushed(name: str) -> bool:
    """Says whether an object below a prefix is part of a preset that was pushed, which others' files are not."""
    *folders, last = name.split("/")
    return _POINTER.fullmatch(last) is not None or any(map(_CONTENT.fullmatch, folders))


def revisions(names: Iterable[str]) -> list[str]:
    """Returns the revisions that persons have named, of which there are pointers among the objects below a prefix."""
    found = [match[1] for name in names if (match := _POINTER.fullmatch(name)) and match[1]]
    return [unquote(name.replace("%", "%25").replace("=", "%")) for name in found]


# === Documents ===


def manifest(files: Iterable[PresetFile]) -> bytes:
    """Returns the manifest of files, the same for the same files."""
    listed = [{"name": f.name, "sha256": (f.digest or "").partition(":")[2], "size": f.size} for f in files]
    return _document({"files": sorted(listed, key=lambda file: str(file["name"])), "format": FORMAT})


def revision_of(content: bytes) -> str:
    """Returns the revision that a manifest makes."""
    return hashlib.sha256(content).hexdigest()[:32]


def pointer(content: bytes) -> bytes:
    """Returns the pointer to the preset with a manifest."""
    return _document({**json.loads(content), "revision": revision_of(content)})


def read_pointer(handle: PresetHandle, content: bytes) -> tuple[str, list[PresetFile]]:
    """Returns the revision and the files that a pointer names.

    Raises:
        SourceUnavailableError, PresetConfigError, IntegrityError: it is no pointer, or damaged.
    """
    facts = _facts(handle, content)
    if "revision" not in facts:
        folder, _, last = handle.path.rpartition("/")
        remedy = f"Name the preset and its revision: {PresetHandle(handle.scheme, folder, last)}" if folder else ""
        problem = f"its {MANIFEST} is no pointer to a preset"
        raise PresetConfigError(f"Preset {str(handle)!r}", problem, remedy if is_content(last) else "Push it again")
    return str(facts["revision"]), _checked(handle, facts, str(facts["revision"]))


def read_manifest(handle: PresetHandle, content: bytes) -> list[PresetFile]:
    """Returns the files that the manifest of a pinned handle names.

    Raises:
        SourceUnavailableError, PresetConfigError, IntegrityError: it is none, or not that of the revision.
    """
    return _checked(handle, _facts(handle, content), str(handle.revision))


def _checked(handle: PresetHandle, facts: dict[str, Any], revision: str) -> list[PresetFile]:
    try:
        files = [_file(file) for file in facts["files"]]
    except (KeyError, TypeError, ValueError):
        raise PresetConfigError(f"Preset {str(handle)!r}", f"its {MANIFEST} does not list files as it should") from None
    found = revision_of(manifest(files))
    if found != revision:
        problem = f"it lists the files of revision {found}, expected {revision[:40]}"
        raise IntegrityError(handle, MANIFEST, problem, "Push the preset again")
    return files


def _facts(handle: PresetHandle, content: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError):
        problem = f"its {MANIFEST} is not JSON; a proxy or login page may be in the way"
        raise SourceUnavailableError(handle, problem) from None
    version = facts.get("format") if isinstance(facts, dict) else None
    if version != FORMAT:
        remedy = "Update vertebra-s3" if isinstance(version, int) else "Push the preset again, or to another place"
        raise PresetConfigError(f"Preset {str(handle)!r}", f"its {MANIFEST} is of no format known here", remedy)
    return facts


def _file(facts: dict[str, Any]) -> PresetFile:
    name, size, sha256 = facts["name"], facts["size"], facts["sha256"]
    if not isinstance(name, str) or type(size) is not int or size < 0 or not is_sha256(sha256):
        raise ValueError(name)
    return PresetFile(name, size, None, f"sha256:{sha256}")


def _document(facts: dict[str, Any]) -> bytes:
    return (json.dumps(facts, indent=1, sort_keys=True) + "\n").encode()
