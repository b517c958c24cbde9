"""The sources of `s3://bucket/prefix[@revision]`, and of the same for `gs` and `az`: presets in object stores."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vertebra import ByteStream, PresetFile, PresetHandle, RemoteSource, Snapshot
from vertebra.errors import PresetNotFoundError
from vertebra_s3 import layout, unmanaged
from vertebra_s3.access import Access, azure, google
from vertebra_s3.aws_config import amazon
from vertebra_s3.bucket import Bucket, Buckets


class _ObjectSource(RemoteSource):
    """Reads presets that Vertebra has pushed, and files that other tools have put below a prefix."""

    def __init__(self) -> None:
        self._buckets = Buckets(self.access)
        self._tags: dict[PresetHandle, Mapping[str, str | None]] = {}
        """What the store calls the contents of files that other tools have put there."""
        self._listing = threading.Lock()

    @abstractmethod
    def access(self) -> Access:
        """Returns the endpoint of the service, and the user's credentials."""

    def is_pinned(self, handle: PresetHandle) -> bool:
        return layout.is_content(handle.revision) or layout.is_listing(handle.revision)

    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        location = layout.location_of(handle)
        bucket = self._buckets.open(handle, location.bucket)
        if layout.is_listing(handle.revision):
            return self._look_at_files(handle, bucket, location)
        if layout.is_content(handle.revision):
            found = bucket.document(location.key(str(handle.revision), layout.MANIFEST))
            if found is not None:
                return Snapshot(handle, layout.read_manifest(handle, found))
            raise unmanaged.nothing(handle, bucket.names(location.prefix))
        found = bucket.document(location.key(layout.pointer_name(handle)))
        if found is not None:
            revision, files = layout.read_pointer(handle, found)
            return Snapshot(replace(handle, revision=revision), files)
        if handle.revision is not None:
            raise unmanaged.nothing(handle, bucket.names(location.prefix))
        return self._look_at_files(handle, bucket, location)

    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        location = layout.location_of(handle)
        bucket = self._buckets.open(handle, location.bucket)
        if layout.is_listing(handle.revision):
            key, tag = location.key(file.name), self._tags_of(handle).get(file.name)
        else:
            key, tag = location.key(str(handle.revision), file.name), None
        return bucket.read(key, file, tag, start, stop)

    def upload(self, handle: PresetHandle, files: Mapping[str, Path], replace: bool, message: str) -> PresetHandle:
        from vertebra_s3 import uploading

        location = layout.location_of(handle)
        bucket = self._buckets.open(handle, location.bucket, writing=True)
        return uploading.upload(bucket, handle, location, files, replace)

    def _look_at_files(self, handle: PresetHandle, bucket: Bucket, location: layout.Location) -> Snapshot:
        names = bucket.names(location.prefix)
        if "config.json" not in names:  # nothing is looked for below it, then: it may be a whole bucket
            raise unmanaged.nothing(handle, names)
        files = unmanaged.files(handle, bucket, location)
        pinned = replace(handle, revision=unmanaged.revision_of(files))
        if handle.revision not in (None, pinned.revision):
            problem = "the files there have changed since it was looked up, and what they were is not kept there"
            raise PresetNotFoundError(handle, problem)
        self._tags[pinned] = {name: found["e_tag"] for name, found in files.items()}
        return Snapshot(pinned, [PresetFile(name, found["size"]) for name, found in files.items()])

    def _tags_of(self, handle: PresetHandle) -> Mapping[str, str | None]:
        with self._listing:
            if handle not in self._tags:
                self.resolve_snapshot(handle)
            return self._tags[handle]


class S3Source(_ObjectSource):
    """Presets in S3, at Amazon or at the endpoint that was set."""

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
