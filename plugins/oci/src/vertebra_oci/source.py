"""The source of `oci://registry/repository[:tag|@digest]`: models in registries of container images."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from vertebra import ByteStream, PresetFile, PresetHandle, RemoteSource, Snapshot, http
from vertebra.errors import IntegrityError, PresetNotFoundError, SourceUnavailableError, close_names
from vertebra_oci import manifest
from vertebra_oci.reference import Reference, is_digest, is_tag, reference_of, suggested
from vertebra_oci.registry import Registries, json_object, refusal

_MOST_TAGS = 3
_LONGEST_MANIFEST = 4 * 2**20
"""Bytes of the longest manifest that registries must accept."""


class OciSource(RemoteSource):
    """Reads ModelPack artifacts, and those of `oras push`; a digest of a manifest is the revision."""

    scheme = "oci"

    def __init__(self) -> None:
        self._registries = Registries()
        self._urls = http.SignedUrlCache()

    def suggest(self, text: str) -> str | None:
        handle = suggested(text)
        return handle and str(handle)

    def is_pinned(self, handle: PresetHandle) -> bool:
        return is_digest(handle.revision)

    def unpinned(self, handle: PresetHandle) -> PresetHandle:
        reference = reference_of(handle)
        return PresetHandle(handle.scheme, f"{reference.registry}/{reference.repository}")

    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        digest, document = self._manifest(handle, reference_of(handle).tag)
        model = manifest.model_of(handle, document)
        if model is not None:
            digest, document = self._manifest(handle, model)
        pinned = handle if self.is_pinned(handle) else replace(self.unpinned(handle), revision=digest)
        return Snapshot(pinned, manifest.files_of(handle, document))

    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        reference = reference_of(handle)
        locate = partial(self._registries.url, reference, f"blobs/{file.digest}")
        send = partial(self._urls.open, locate(), locate, partial(self._registries.get, handle, reference))
        return http.read(handle, file, (start, stop), send, partial(refusal, handle, reference))

    def upload(self, handle: PresetHandle, files: Mapping[str, Path], replace: bool, message: str) -> PresetHandle:
        from vertebra_oci import uploading

        uploading.check_target(handle)
        try:
            current, _ = self._manifest(handle, reference_of(handle).tag)
        except PresetNotFoundError:
            current = None
        digest = uploading.upload(self._registries, handle, files, current, replace)
        return PresetHandle(handle.scheme, self.unpinned(handle).path, digest)

    def _manifest(self, handle: PresetHandle, tag: str) -> tuple[str, Mapping[str, object]]:
        """Returns the digest and the content of a manifest or index."""
        reference = replace(reference_of(handle), tag=tag)
        headers = {"accept": manifest.ACCEPTED}
        response = self._registries.get(handle, reference, self._registries.url(reference, f"manifests/{tag}"), headers)
        if response.status == 404 and not is_digest(tag):
            response.finish()
            raise self._no_tag(handle, reference)
        if response.status != 200:
            raise refusal(handle, reference, response)
        data = http.read_all(handle, response, _LONGEST_MANIFEST)
        digest = manifest.digest_of(data)
        stated = response.headers.get("docker-content-digest")
        expected = tag if is_digest(tag) else stated if is_digest(stated) else digest
        if digest != expected:
            raise IntegrityError(
                handle, "its manifest", f"it has the digest {digest}, expected {expected}", "Try again"
            )
        return digest, manifest.parsed(handle, data)

    def _no_tag(self, handle: PresetHandle, reference: Reference) -> PresetNotFoundError:
        """Returns the error for a tag that does not exist; it names the nearest, or the first of the repository."""
        response = self._registries.get(handle, reference, self._registries.url(reference, "tags/list"), {})
        tags: list[str] = []
        with (
            contextlib.closing(response),
            contextlib.suppress(SourceUnavailableError),
        ):  # such as a list that is too long
            listed = json_object(handle, response).get("tags") if response.status == 200 else None
            tags = sorted(filter(is_tag, listed)) if isinstance(listed, list) else []
        found = close_names(reference.tag, tags) or tags[:_MOST_TAGS]
        path = self.unpinned(handle).path
        names = [str(PresetHandle(handle.scheme, f"{path}:{tag}")) for tag in found]
        return PresetNotFoundError(handle, f"there is no {reference}, or you may not see it", names)
