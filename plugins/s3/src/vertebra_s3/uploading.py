"""Publishes a preset: first its files, under keys that only its revision has, and last the pointer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vertebra import PresetFile, PresetHandle, file_names
from vertebra.errors import HandleError, IntegrityError, PresetExistsError
from vertebra_s3 import layout
from vertebra_s3.bucket import Bucket

_BLOCK = 2**20
_LARGE = 8 * 2**20
"""Bytes above which a file is sent as a multipart upload, and not held in memory."""
_ATTEMPTS = 3
_REMEDY = "Choose another prefix, or replace it with replace=True or --replace"


@dataclass(frozen=True, slots=True)
class _Preset:
    """The preset to publish, and its location."""

    handle: PresetHandle
    location: layout.Location
    revision: str
    manifest: bytes


def upload(
    bucket: Bucket, handle: PresetHandle, location: layout.Location, files: Mapping[str, Path], replacing: bool
) -> PresetHandle:
    """Publishes files as a preset; returns its pinned handle.

    Readers see nothing of an interrupted upload, and the next upload does not send its finished files again. Of two
    uploads at the same time, one succeeds, and the other fails with an error.

    Raises:
        PresetExistsError: another preset is at this prefix, and `replacing` is False.
        HandleError: the handle names a revision in the form of a hash.
    """
    if layout.is_manifest_revision(handle.revision) or layout.is_list_revision(handle.revision):
        raise HandleError(str(handle), "such a revision is computed from the files; name another one, or none")
    listed = [PresetFile.of(name, path) for name, path in files.items()]
    manifest = layout.manifest(listed)
    preset = _Preset(handle, location, layout.revision_of(manifest), manifest)
    pinned = replace(handle, revision=preset.revision)
    if _is_published(bucket, preset, replacing):
        return pinned
    for file in listed:
        _send(bucket, preset, file, files[file.name])
    bucket.put(location.key(preset.revision, layout.MANIFEST), manifest, len(manifest), {})
    _write_pointer(bucket, preset, replacing)
    return pinned


def _is_published(bucket: Bucket, preset: _Preset, replacing: bool) -> bool:
    """Returns whether the preset is published already.

    Raises:
        PresetExistsError: another preset is published there, and `replacing` is False.
    """
    pointer = bucket.document(_pointer_key(preset))
    if pointer is None:
        configs = map(preset.location.key, (file_names.CONFIG, file_names.ADAPTER_CONFIG))
        unmanaged = preset.handle.revision is None and any(bucket.attributes(key) is not None for key in configs)
        if unmanaged and not replacing:
            raise PresetExistsError(preset.handle, "a preset from another tool is already there", _REMEDY)
        return False
    if replacing and pointer == layout.pointer(preset.manifest):
        return True
    if replacing:
        return False  # any other object is replaced
    if layout.read_pointer(preset.handle, pointer)[0] != preset.revision:
        raise PresetExistsError(preset.handle, "another preset is already there", _REMEDY)
    return True


def _send(bucket: Bucket, preset: _Preset, file: PresetFile, path: Path) -> None:
    """Writes a file, unless an earlier upload has written it already."""
    key = preset.location.key(preset.revision, file.name)
    sha256 = str(file.digest).removeprefix("sha256:")
    size, attributes = bucket.attributes(key) or (None, {})
    if (size, attributes.get("sha256")) == (file.size, sha256):
        return
    blocks = _checked_blocks(preset.handle, file, path)
    bucket.put(key, blocks if file.size > _LARGE else b"".join(blocks), file.size, {"sha256": sha256})


def _write_pointer(bucket: Bucket, preset: _Preset, replacing: bool) -> None:
    """Writes the pointer, which publishes the preset."""
    key, pointer = _pointer_key(preset), layout.pointer(preset.manifest)
    if replacing:
        bucket.put(key, pointer, len(pointer), {})
        return
    # A service may refuse both of two writes at once, and a write whose response was lost may have succeeded.
    for _ in range(_ATTEMPTS):
        if bucket.create(key, pointer) or _is_published(bucket, preset, False):
            return
    raise PresetExistsError(preset.handle, "another process is publishing there now", "Try again")


def _pointer_key(preset: _Preset) -> str:
    return preset.location.key(layout.pointer_name(preset.handle))


def _checked_blocks(handle: PresetHandle, file: PresetFile, path: Path) -> Iterator[bytes]:
    """Yields a file's bytes, and checks its digest.

    Raises:
        IntegrityError: the file has changed since its digest was computed; the client library then aborts the upload.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            yield block
    if f"sha256:{digest.hexdigest()}" != file.digest:
        raise IntegrityError(handle, file.name, f"{path} changed while it was uploaded", "Try again")
