"""Publishes a preset as a ModelPack artifact: first its blobs, and last the manifest with the tag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vertebra import PresetFile, PresetHandle, file_names
from vertebra.errors import HandleError, IntegrityError, PresetExistsError
from vertebra_oci import manifest
from vertebra_oci.reference import Reference, is_digest, reference_of
from vertebra_oci.registry import Registries, location

_BINARY = {"content-type": "application/octet-stream"}
_REMEDY = "Choose another tag, or move this one with replace=True or --replace"


def upload(
    registries: Registries, handle: PresetHandle, files: Mapping[str, Path], current: str | None, replacing: bool
) -> str:
    """Publishes files under the tag of a handle; returns the digest of the manifest.

    Blobs that the repository has are not sent again. A registry has no request that moves a tag only if it has not
    moved meanwhile: of two uploads at the same time, the last one has the tag, and both have their digests.

    Args:
        registries: Sends the requests.
        handle: The target.
        files: Local path of each file, by its name.
        current: Digest of the manifest that has the tag, or None.
        replacing: Whether the tag may be moved.

    Raises:
        PresetExistsError: the tag is of another manifest, and `replacing` is False.
        IntegrityError: the registry has changed the manifest.
    """
    reference = reference_of(handle)
    listed = [PresetFile.of(name, files[name]) for name in sorted(files)]
    config = manifest.config(reference.repository.rpartition("/")[2], listed)
    document = manifest.manifest(config, listed, file_names.WEIGHTS_SUFFIXES)
    digest = manifest.digest_of(document)
    if current == digest:
        return digest
    if current is not None and not replacing:
        raise PresetExistsError(handle, f"the tag {reference.tag!r} is of another artifact", _REMEDY)
    for file in listed:
        _send_blob(registries, handle, reference, str(file.digest), files[file.name])
    _send_blob(registries, handle, reference, manifest.digest_of(config), config)
    url = registries.url(reference, f"manifests/{reference.tag}")
    response = registries.send(handle, reference, "PUT", url, document, {"content-type": manifest.MANIFEST})
    response.finish()
    stored = response.headers.get("docker-content-digest", digest)
    if stored != digest:
        problem = f"the registry has stored it with the digest {stored[:80]}, expected {digest}"
        raise IntegrityError(handle, "its manifest", problem, "Use a registry that does not change manifests")
    return digest


def check_target(handle: PresetHandle) -> None:
    """Raises an error for a target that nothing can be published at.

    Raises:
        HandleError: the target is a digest.
    """
    if is_digest(handle.revision):
        target = replace(handle, revision=None)
        raise HandleError(str(handle), f"digests are computed from the files; write {target}, or a tag after it")


def _send_blob(
    registries: Registries, handle: PresetHandle, reference: Reference, digest: str, body: bytes | Path
) -> None:
    """Sends a blob in one request, unless the repository has it; the registry checks its digest."""
    known = registries.send(handle, reference, "HEAD", registries.url(reference, f"blobs/{digest}"))
    known.finish()
    if known.status == 200:
        return
    started = registries.send(handle, reference, "POST", registries.url(reference, "blobs/uploads/"), b"")
    started.finish()
    url = location(handle, reference, started, {"digest": digest})
    registries.send(handle, reference, "PUT", url, body, _BINARY).finish()
