"""The sources of `s3://bucket/prefix[@revision]` and of the same with `gs` and `az`: presets in object stores."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vertebra import ByteStream, PresetFile, PresetHandle, RemoteSource, Snapshot, file_names
from vertebra.errors import PresetNotFoundError
from vertebra_s3 import layout, unmanaged
from vertebra_s3.access import Access, azure, google
from vertebra_s3.aws_config import amazon
from vertebra_s3.bucket import Bucket, Buckets
from vertebra_s3.urls import handle_of


class _ObjectSource(RemoteSource):
    """Reads presets that Vertebra has published, and files that other tools have written below a prefix."""

    def __init__(self) -> None:
        self._buckets = Buckets(self.access)
        self._tags: dict[PresetHandle, Mapping[str, str | None]] = {}
        """ETags of files that other tools have written, by name."""
        self._tags_lock = threading.Lock()

    @abstractmethod
    def access(self) -> Access:
        """Returns the endpoint of the service, and the user's credentials."""

    def suggest(self, text: str) -> str | None:
        handle = handle_of(self.scheme, text)
        return handle and str(handle)

    def is_pinned(self, handle: PresetHandle) -> bool:
        return layout.is_manifest_revision(handle.revision) or layout.is_list_revision(handle.revision)

    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        location = layout.location_of(handle)
        bucket = self._buckets.open(handle, location.bucket)
        if layout.is_list_revision(handle.revision):
            return self._unmanaged_snapshot(handle, bucket, location)
        if layout.is_manifest_revision(handle.revision):
            manifest = bucket.document(location.key(str(handle.revision), layout.MANIFEST))
            if manifest is not None:
                return Snapshot(handle, layout.read_manifest(handle, manifest))
            raise unmanaged.not_found(handle, bucket.names(location.prefix))
        pointer = bucket.document(location.key(layout.pointer_name(handle)))
        if pointer is not None:
            revision, files = layout.read_pointer(handle, pointer)
            return Snapshot(replace(handle, revision=revision), files)
        if handle.revision is not None:
            raise unmanaged.not_found(handle, bucket.names(location.prefix))
        return self._unmanaged_snapshot(handle, bucket, location)

    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        location = layout.location_of(handle)
        bucket = self._buckets.open(handle, location.bucket)
        if layout.is_list_revision(handle.revision):
            key, tag = location.key(file.name), self._tags_of(handle).get(file.name)
        else:
            key, tag = location.key(str(handle.revision), file.name), None
        return bucket.read(key, file, tag, start, stop)

    def upload(self, handle: PresetHandle, files: Mapping[str, Path], replace: bool, message: str) -> PresetHandle:
        from vertebra_s3 import uploading

        location = layout.location_of(handle)
        bucket = self._buckets.open(handle, location.bucket, writing=True)
        return uploading.upload(bucket, handle, location, files, replace)

    def _unmanaged_snapshot(self, handle: PresetHandle, bucket: Bucket, location: layout.Location) -> Snapshot:
        names = bucket.names(location.prefix)
        if not file_names.has_config(names):  # not all objects below the prefix are listed: it may be a whole bucket
            raise unmanaged.not_here(handle, bucket, location, names)
        files = unmanaged.files(handle, bucket, location)
        pinned = replace(handle, revision=unmanaged.revision_of(files))
        if handle.revision not in (None, pinned.revision):
            problem = "its files have changed since it was looked up, and the bucket does not keep the old ones"
            raise PresetNotFoundError(handle, problem)
        self._tags[pinned] = {name: listed["e_tag"] for name, listed in files.items()}
        return Snapshot(pinned, [PresetFile(name, listed["size"]) for name, listed in files.items()])

    def _tags_of(self, handle: PresetHandle) -> Mapping[str, str | None]:
        with self._tags_lock:
            if handle not in self._tags:
                self.resolve_snapshot(handle)
            return self._tags[handle]


class S3Source(_ObjectSource):
    """Presets in S3, at Amazon or at the endpoint that the user has set."""

    scheme = "s3"

    def access(self) -> Access:
        return amazon()


class GoogleSource(_ObjectSource):
    """Presets in Google Cloud Storage."""

    scheme = "gs"

    def access(self) -> Access:
        return google()


class AzureSource(_ObjectSource):
    """Presets in Azure Blob Storage."""

    scheme = "az"

    def access(self) -> Access:
        return azure()
