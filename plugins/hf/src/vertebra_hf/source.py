"""The source of `hf://org/name[/folder][@revision]`: presets in model repositories of a Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vertebra import ByteStream, PresetFile, PresetHandle, RemoteSource, Snapshot, http
from vertebra.errors import (
    HandleError,
    IntegrityError,
    PresetNotFoundError,
    SourceUnavailableError,
    close_names,
)
from vertebra_hf import local
from vertebra_hf.error_mapping import refusal
from vertebra_hf.hub import Hub, HubResponse, api_url, endpoint, file_url
from vertebra_hf.local import COMMIT
from vertebra_hf.urls import handle_of

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
_OTHER_KINDS = ("datasets", "spaces", "buckets", "kernels")


class HfSource(RemoteSource):
    """Reads presets from repositories of the hub, or from a folder in one if the handle names a folder."""

    scheme = "hf"

    def __init__(self) -> None:
        self._hub = Hub()
        self._signed_urls = http.SignedUrlCache()

    def suggest(self, text: str) -> str | None:
        handle = handle_of(text, endpoint())
        if handle is not None:
            repository_of(handle)  # raises an error if it is not a model's
        return handle and str(handle)

    def is_pinned(self, handle: PresetHandle) -> bool:
        return COMMIT.fullmatch(handle.revision or "") is not None

    def transformers_name(self, handle: PresetHandle) -> str | None:
        repo, folder = repository_of(handle)
        return None if folder else repo

    def resolve_snapshot(self, handle: PresetHandle) -> Snapshot:
        repo, folder = repository_of(handle)
        response = self._hub.get(handle, api_url(repo, handle.revision))
        if response.status != 200:
            response.close()
            raise refusal(handle, repo, endpoint(), response.status, response.headers, response.login)
        return _snapshot(handle, folder, response.json())

    def read(self, handle: PresetHandle, file: PresetFile, start: int = 0, stop: int | None = None) -> ByteStream:
        repo, folder = repository_of(handle)
        url = file_url(repo, handle.revision or "", f"{folder}{file.name}")
        send = partial(self._signed_urls.open, url, lambda: url, partial(self._hub.get, handle))
        return http.read(handle, file, (start, stop), send, partial(_read_error, handle, repo))

    def external_file(self, handle: PresetHandle, file: PresetFile) -> Path | None:
        repo, folder = repository_of(handle)
        return local.external_file(repo, f"{folder}{file.name}", handle.revision)

    def external_snapshot(self, handle: PresetHandle) -> Snapshot | None:
        return local.external_snapshot(handle, *repository_of(handle))

    def external_revisions(self, handle: PresetHandle) -> list[PresetHandle]:
        return [replace(handle, revision=commit) for commit in local.cached_commits(repository_of(handle)[0])]

    def upload(self, handle: PresetHandle, files: Mapping[str, Path], replace: bool, message: str) -> PresetHandle:
        from vertebra_hf import uploading

        repo, folder = repository_of(handle)
        if self.is_pinned(handle):
            raise HandleError(str(handle), "a commit cannot be written to; name a branch, or none for main")
        return uploading.upload(self, handle, repo, folder, uploading.Upload(files, replace, message))


def repository_of(handle: PresetHandle) -> tuple[str, str]:
    """Returns the repository that a handle names, and the folder inside it: empty, or with a slash at the end.

    A name of one segment, from before the hub had organisations, is always a whole repository.

    Raises:
        HandleError: the handle names no repository.
    """
    names = handle.path.split("/")
    for name in names[:2]:
        if not _NAME.fullmatch(name) or ".." in name or "--" in name:
            raise HandleError(str(handle), f"{name!r} is not valid in the name of a repository")
    if names[0] in _OTHER_KINDS:
        raise HandleError(str(handle), f"presets are in model repositories, not in {names[0]}")
    return "/".join(names[:2]), "".join(f"{name}/" for name in names[2:])


def _snapshot(handle: PresetHandle, folder: str, facts: Mapping[str, Any]) -> Snapshot:
    try:
        commit, listed = str(facts["sha"]), [_listed_file(file) for file in facts["siblings"]]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise SourceUnavailableError(handle, f"{endpoint()} does not respond as a hub does") from None
    if not COMMIT.fullmatch(commit) or (COMMIT.fullmatch(handle.revision or "") and commit != handle.revision):
        raise IntegrityError(handle, "the file list", f"it is of commit {commit[:40]!r}, not of the requested one")
    files = [replace(file, name=file.name.removeprefix(folder)) for file in listed if file.name.startswith(folder)]
    if folder and not files:
        folders = {file.name.rpartition("/")[0] for file in listed} - {""}
        problem = f"there is no folder {folder[:-1]!r} in the repository"
        raise PresetNotFoundError(handle, problem, close_names(folder[:-1], folders))
    return Snapshot(replace(handle, revision=commit), files)


def _listed_file(facts: Mapping[str, Any]) -> PresetFile:
    large = facts.get("lfs")
    digest = f"sha256:{large['sha256']}" if large else f"git:{facts['blobId']}"
    return PresetFile(str(facts["rfilename"]), int((large or facts)["size"]), None, digest)


def _read_error(handle: PresetHandle, repo: str, response: HubResponse) -> Exception:
    hub = endpoint()
    if not http.same_origin(response.url, hub) and response.status in http.EXPIRED:
        problem = f"{http.origin(response.url)} responded with HTTP {response.status} to a new URL from the hub"
        return SourceUnavailableError(handle, problem)
    return refusal(handle, repo, hub, response.status, response.headers, response.login)
