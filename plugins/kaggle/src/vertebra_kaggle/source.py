"""The source of `kaggle://owner/model/framework/variation[/version]`: presets that are versions of models on Kaggle."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from vertebra import ByteStream, PresetFile, PresetHandle, RemoteSource, Snapshot, http
from vertebra.errors import HandleError, PresetNotFoundError, SourceUnavailableError
from vertebra_kaggle import storage
from vertebra_kaggle.api import Api
from vertebra_kaggle.urls import handle_of
from vertebra_kaggle.variations import variation_of, version_of


class KaggleSource(RemoteSource):
    """Reads presets from Kaggle's storage, by a signed URL from its API for each file."""

    scheme = "kaggle"
    supports_revisions = False  # a version is part of the path, as Kaggle itself writes it
    revision_hint = "Write a version at the end of the path, as in kaggle://owner/model/keras/variation/1"

    def __init__(self) -> None:
        self._api = Api()
        self._signed_urls = http.SignedUrlCache()

    def suggest(self, text: str) -> str | None:
        handle = handle_of(text)
        if handle is not None:
            variation_of(handle)  # raises an error if it is not valid
        return handle and str(handle)

    def is_pinned(self, handle: PresetHandle) -> bool:
        return version_of(handle) is not None

    def unpinned(self, handle: PresetHandle) -> PresetHandle:
        return PresetHandle(handle.scheme, str(variation_of(handle)))

    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        variation = variation_of(handle)
        if self.is_pinned(handle):
            return Snapshot(handle, self._listed(handle))
        version = self._api.newest_version(handle, variation)
        pinned = replace(handle, path=f"{handle.path}/{version}")
        return Snapshot(pinned, self._api.files(pinned, variation, version))

    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        locate, get = partial(self._link, handle, file), partial(storage.get, handle)
        send = partial(self._signed_urls.open, (handle, file.name), locate, get)
        return http.read(handle, file, (start, stop), send, partial(_read_error, handle), _digest)

    def upload(self, handle: PresetHandle, files: Mapping[str, Path], replace: bool, message: str) -> PresetHandle:
        from vertebra_kaggle import uploading

        variation = variation_of(handle)
        if self.is_pinned(handle):
            raise HandleError(str(handle), f"versions get their numbers from Kaggle; write {self.scheme}://{variation}")
        return uploading.upload(self, handle, uploading.Upload(str(variation), files, replace, message))

    def _listed(self, handle: PresetHandle) -> list[PresetFile]:
        """Returns the files of a version; if it does not exist, the error names the newest version."""
        variation, version = variation_of(handle), version_of(handle) or 0
        try:
            return self._api.files(handle, variation, version)
        except PresetNotFoundError:
            newest = self._api.newest_version(
                handle, variation
            )  # raises an error if the variation does not exist either
            if newest >= version:
                raise
            raise PresetNotFoundError(handle, f"the newest version is {newest}") from None

    def _link(self, handle: PresetHandle, file: PresetFile) -> str:
        return self._api.link(handle, variation_of(handle), version_of(handle) or 0, file.name)


def _read_error(handle: PresetHandle, response: http.Response) -> Exception:
    if response.status in http.EXPIRED:
        problem = f"{http.origin(response.url)} responded with HTTP {response.status} to a new URL from Kaggle"
        return SourceUnavailableError(handle, problem)
    return http.error(handle, response.status, response.headers)


def _digest(response: http.Response) -> str | None:
    return _md5(response.headers.get("x-goog-hash", ""))


def _md5(hashes: str) -> str | None:
    """Returns the MD5 digest in the header `x-goog-hash` of Google's storage, or None if it has none."""
    for item in hashes.split(","):
        name, _, value = item.strip().partition("=")
        if name == "md5":
            try:
                return f"md5:{base64.b64decode(value, validate=True).hex()}"
            except binascii.Error:
                return None
    return None
