"""Publishing a preset: its files first, each under a key that is its revision's alone, and the pointer last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vertebra import PresetFile, PresetHandle
from vertebra.errors import HandleError, IntegrityError, PresetExistsError
from vertebra_s3 import layout
from vertebra_s3.bucket import Bucket

_BLOCK = 2**20
_LARGE = 8 * 2**20
"""Bytes above which a file is sent in parts, and not held in memory."""
_ATTEMPTS = 3
_REMEDY = "Choose another place, or replace it with replace=True or --replace"


@dataclass(frozen=True, slots=True)
class _Preset:
    """What is to be published, and where."""

    handle: PresetHandle
    location: layout.Location
    revision: str
    manifest: bytes


def upload(
    bucket: Bucket, handle: PresetHandle, location: layout.Location, files: Mapping[str, Path], replacing: bool
) -> PresetHandle:
    """Publishes files as a preset; returns its pinned handle.

    An upload that is stopped leaves nothing that readers see, and files that it sent need not be sent again. Of two
    uploads at the same time, one is first, and the other fails with an error.

    Raises:
        PresetExistsError: another preset is at this prefix, and is not to be replaced.
        HandleError: the handle names a revision that only contents can have.
    """
    if layout.is_content(handle.revision) or layout.is_listing(handle.revision):
        raise HandleError(str(handle), "only contents have such a revision; name another one, or none")
    listed = [_described(name, path) for name, path in files.items()]
    manifest = layout.manifest(listed)
    preset = _Preset(handle, location, layout.revision_of(manifest), manifest)
    pinned = replace(handle, revision=preset.revision)
    if _stands(bucket, preset, replacing):
        return pinned
    for file in listed:
        _send(bucket, preset, file, files[file.name])
    bucket.put(location.key(preset.revision, layout.MANIFEST), manifest, len(manifest), {})
    _point(bucket, preset, replacing)
    return pinned


def _stands(bucket: Bucket, preset: _Preset, replacing: bool) -> bool:
    """Says whether the preset is published already.

    Raises:
        PresetExistsError: another one is, and is not to be replaced.
    """
    found = bucket.document(_pointer_key(preset))
    if found is None:
        by_others = preset.handle.revision is None and bucket.attributes(preset.location.key("config.json")) is not None
        if by_others and not replacing:
            raise PresetExistsError(preset.handle, "files of a preset stand there that were not pushed", _REMEDY)
        return False
    if replacing and found == layout.pointer(preset.manifest):
        return True
    if replacing:
        return False  # whatever it is
    if layout.read_pointer(preset.handle, found)[0] != preset.revision:
        raise PresetExistsError(preset.handle, "another preset stands there", _REMEDY)
    return True


def _send(bucket: Bucket, preset: _Preset, file: PresetFile, path: Path) -> None:
    """Writes a file, unless an earlier upload has written it."""
    key = preset.location.key(preset.revision, file.name)
    sha256 = str(file.digest).removeprefix("sha256:")
    size, noted = bucket.attributes(key) or (None, {})
    if (size, noted.get("sha256")) == (file.size, sha256):
        return
    content = _checked(preset.handle, file, path)
    bucket.put(key, content if file.size > _LARGE else b"".join(content), file.size, {"sha256": sha256})


def _point(bucket: Bucket, preset: _Preset, replacing: bool) -> None:
    """Writes the pointer: from now on, the preset is there."""
    key, content = _pointer_key(preset), layout.pointer(preset.manifest)
    if replacing:
        bucket.put(key, content, len(content), {})
        return
    for _ in range(_ATTEMPTS):  # a service may refuse both of two at once, and a request that was lost may have come
        if bucket.create(key, content) or _stands(bucket, preset, False):
            return
    raise PresetExistsError(preset.handle, "others are publishing there just now", "Try again")


def _pointer_key(preset: _Preset) -> str:
    return preset.location.key(layout.pointer_name(preset.handle))


def _described(name: str, path: Path) -> PresetFile:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return PresetFile(name, size, None, f"sha256:{digest.hexdigest()}")


def _checked(handle: PresetHandle, file: PresetFile, path: Path) -> Iterator[bytes]:
    """Yields a file's bytes; one that has changed since it was described is not published.

    Raises:
        IntegrityError: it has; the client library then takes back what it has sent.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            yield block
    if f"sha256:{digest.hexdigest()}" != file.digest:
        raise IntegrityError(handle, file.name, f"{path} changed while it was uploaded", "Try again")
