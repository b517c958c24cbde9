"""The source of `kaggle://owner/model/framework/variation[/version]`: presets that are versions of models on Kaggle."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vertebra import Content, PresetFile, PresetHandle, RemoteSource, Snapshot, http_content, http_error, redirects
from vertebra.errors import HandleError, PresetNotFoundError, SourceUnavailableError
from vertebra_kaggle import uploading
from vertebra_kaggle.api import Api
from vertebra_kaggle.storage import Answer, Storage
from vertebra_kaggle.variations import variation_of, version_of

_NO_LONGER = (400, 401, 403, 404, 410)
"""What the storage answers to a link that has expired."""


class KaggleSource(RemoteSource):
    """Reads presets from Kaggle's storage, by links that its API gives for one file each."""

    scheme = "kaggle"
    supports_revisions = False  # a version is part of the path, as Kaggle itself writes it

    def __init__(self) -> None:
        self._api = Api()
        self._storage = Storage()
        self._links: dict[tuple[str, str], str] = {}
        """Where files are, by handle and name; whoever has a link can read the file, so they stay in memory."""
        self._finding: dict[tuple[str, str], threading.Lock] = {}

    def is_pinned(self, handle: PresetHandle) -> bool:
        return version_of(handle) is not None

    def look_up(self, handle: PresetHandle) -> Snapshot:
        variation = variation_of(handle)
        if self.is_pinned(handle):
            return Snapshot(handle, self._listed(handle))
        version = self._api.newest_version(handle, variation)
        pinned = replace(handle, path=f"{handle.path}/{version}")
        return Snapshot(pinned, self._api.files(pinned, variation, version))

    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> Content:
        wanted = {} if (start, stop) == (0, None) else {"range": f"bytes={start}-{'' if stop is None else stop - 1}"}
        answer = self._open(handle, file, wanted)
        if answer.status == 416:  # the range is there, so it is ranges that this server has not
            answer.close()
            answer = self._open(handle, file, {})
        try:
            if answer.status not in (200, 206):
                raise _read_error(handle, answer)
            digest = _md5(answer.headers.get("x-goog-hash", ""))
            return http_content(handle, file.name, answer.status, answer.headers, answer, digest)
        except BaseException:
            answer.close()
            raise

    def upload(self, handle: PresetHandle, files: Mapping[str, Path], replace: bool, message: str) -> PresetHandle:
        variation = variation_of(handle)
        if self.is_pinned(handle):
            raise HandleError(str(handle), f"versions get their numbers from Kaggle; write {self.scheme}://{variation}")
        return uploading.upload(self, handle, uploading.Upload(str(variation), files, replace, message))

    def _listed(self, handle: PresetHandle) -> list[PresetFile]:
        """Returns the files of a version, or says which ones there are."""
        variation, version = variation_of(handle), version_of(handle) or 0
        try:
            return self._api.files(handle, variation, version)
        except PresetNotFoundError:
            newest = self._api.newest_version(handle, variation)  # if that is not there either, it says so
            if newest >= version:
                raise
            raise PresetNotFoundError(handle, f"the newest version is {newest}") from None

    def _open(self, handle: PresetHandle, file: PresetFile, wanted: Mapping[str, str]) -> Answer:
        """Begins to read a file; the API is asked once for all its parts, and again when its link is of no more use."""
        key = str(handle), file.name
        with self._finding.setdefault(key, threading.Lock()):
            known = self._links.get(key)
            link = known or self._find(handle, file)
        try:
            answer = self._storage.ask(handle, link, wanted)
        except SourceUnavailableError:
            self._links.pop(key, None)  # where nobody answers, another link may lead elsewhere
            raise
        if known is None or answer.status not in _NO_LONGER:
            return answer
        answer.close()
        with self._finding[key]:
            newer = self._links.get(key)
            link = newer if newer not in (None, known) else self._find(handle, file)
        return self._storage.ask(handle, link, wanted)

    def _find(self, handle: PresetHandle, file: PresetFile) -> str:
        link = self._api.link(handle, variation_of(handle), version_of(handle) or 0, file.name)
        self._links[str(handle), file.name] = link
        return link


def _read_error(handle: PresetHandle, answer: Answer) -> Exception:
    if answer.status in _NO_LONGER:
        problem = f"{redirects.origin(answer.url)} answered HTTP {answer.status} to a link that Kaggle has just given"
        return SourceUnavailableError(handle, problem)
    return http_error(handle, answer.status, answer.headers)


def _md5(hashes: str) -> str | None:
    """Returns the digest that Google's storage tells of a file, among others, if it does."""
    for part in hashes.split(","):
        name, _, value = part.strip().partition("=")
        if name == "md5":
            try:
                return f"md5:{base64.b64decode(value, validate=True).hex()}"
            except binascii.Error:
                return None
    return None
