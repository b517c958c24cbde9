"""The source of `modelscope://owner/name[@revision]`: models of ModelScope; a revision is a branch, tag or commit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vertebra import ByteStream, PresetFile, PresetHandle, RemoteSource, Snapshot
from vertebra.errors import HandleError, PresetNotFoundError
from vertebra_modelscope import service

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PAGE = re.compile(r"(?:https?://)?(?:www\.)?modelscope\.(?:cn|ai)/models/([\w.-]+/[\w.-]+)(?:[/?#].*)?")


class ModelScopeSource(RemoteSource):
    """Reads and publishes models of ModelScope; the pinned revision is a commit."""

    scheme = "modelscope"

    def suggest(self, text: str) -> str | None:
        page = _PAGE.fullmatch(text)
        return page and str(PresetHandle(self.scheme, page[1]))

    def is_pinned(self, handle: PresetHandle) -> bool:
        return _COMMIT.fullmatch(handle.revision or "") is not None

    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        check(handle)
        listing = service.listing(handle)
        if self.is_pinned(handle):
            service.check_commit(handle, listing)
            return Snapshot(handle, service.files_of(handle, listing))
        commit = next(filter(_COMMIT.fullmatch, service.commits_of(listing)), None)
        if commit is None:
            problem = "the service does not name its newest commit, as after one that only removed files"
            raise PresetNotFoundError(handle, problem, remedy=f"Name a commit: {handle.without_revision()}@<40 digits>")
        return Snapshot(replace(handle, revision=commit), service.files_of(handle, listing))

    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        return service.read(handle, file, start, stop)

    def upload(self, handle: PresetHandle, files: Mapping[str, Path], replace: bool, message: str) -> PresetHandle:
        from vertebra_modelscope import uploading

        check(handle)
        if self.is_pinned(handle):
            raise HandleError(str(handle), "commits are made by the service; name a branch, or no revision")
        return uploading.upload(self, handle, uploading.Upload(files, replace, message))


def check(handle: PresetHandle) -> None:
    """Checks that a handle names a repository.

    Raises:
        HandleError: it does not.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", handle.path):
        raise HandleError(str(handle), f"{handle.path!r} is not a model of ModelScope", "Write modelscope://owner/name")
