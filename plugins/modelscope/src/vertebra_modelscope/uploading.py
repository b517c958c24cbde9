"""Publishes a preset as one commit; large files are stored first, and a missing repository is created."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vertebra import PresetFile, PresetHandle, RemoteSource, Snapshot, file_names, http
from vertebra.errors import PresetError, PresetExistsError, PresetNotFoundError, SourceUnavailableError
from vertebra_modelscope import service

_LARGE = 5 * 2**20
"""Bytes above which a file is stored outside of git, as are all files of weights."""
_PRIVATE, _LONGEST_ANSWER = 1, 2**24
_JSON = {"content-type": "application/json"}
_REMEDY = "Choose another repository, or replace the preset with replace=True or --replace"


@dataclass(frozen=True, slots=True)
class Upload:
    """The files to publish, and the user's options."""

    files: Mapping[str, Path]
    replace: bool
    message: str


def upload(source: RemoteSource, handle: PresetHandle, wanted: Upload) -> PresetHandle:
    """Publishes files on the branch of a handle, in one commit; returns its pinned handle.

    Raises:
        PresetExistsError: the branch has another preset, and `wanted.replace` is False.
        PresetNotFoundError: there is no such branch.
        PresetAccessError: the user may not write to the repository.
    """
    listed = [PresetFile.of(name, path) for name, path in wanted.files.items()]
    current = _resolve_or_create(source, handle)
    present = {file.name: file for file in current.files} if current else {}
    stale = [name for name in present if name not in wanted.files and name.endswith(file_names.WEIGHTS_SUFFIXES)]
    if current and not stale and all(file == present.get(file.name) for file in listed):
        return current.handle
    if file_names.holds_any(present) and not wanted.replace:
        raise PresetExistsError(handle, "another preset is already there", _REMEDY)
    _store(handle, {file: wanted.files[file.name] for file in listed if _is_large(file)})
    actions = [_action(file, wanted.files[file.name]) for file in listed]
    actions += [_described("delete", name) for name in stale]
    branch = handle.revision or service.BRANCH
    _post(handle, f"repos/models/{handle.path}/commit/{branch}", {"commit_message": wanted.message, "actions": actions})
    return _published(source, handle, listed)


def _published(source: RemoteSource, handle: PresetHandle, listed: list[PresetFile]) -> PresetHandle:
    """Returns the pinned handle of the branch, whose files are compared: others may publish, too."""
    published = source.resolve_snapshot(handle)
    if not set(listed) <= set(published.files):
        raise PresetExistsError(
            handle, "another process has published there at the same time", "Check it, and try again"
        )
    return published.handle


def _resolve_or_create(source: RemoteSource, handle: PresetHandle) -> Snapshot | None:
    """Returns the current files, or None for a new repository, which is private."""
    try:
        service.listing(handle)
    except PresetNotFoundError:
        if handle.revision not in (None, service.BRANCH):
            raise
        owner, name = handle.path.split("/")
        _post(handle, "models", {"Path": owner, "Name": name, "Visibility": _PRIVATE, "License": "Apache-2.0"})
        return None
    return source.resolve_snapshot(handle)


def _store(handle: PresetHandle, files: Mapping[PresetFile, Path]) -> None:
    """Stores large files, except those that the service has."""
    paths = {_sha256(file): path for file, path in files.items()}
    objects = [{"oid": _sha256(file), "size": file.size} for file in files]
    if not objects:
        return
    batch = {"operation": "upload", "objects": objects}
    document = _post(handle, f"repos/models/{handle.path}/info/lfs/objects/batch", batch)
    try:
        described = document["Data"]["objects"]
        links = {entry["oid"]: (entry.get("actions") or {}).get("upload", {}).get("href") for entry in described}
        urls = {sha256: str(url) for sha256, url in links.items() if url is not None and sha256 in paths}
    except (LookupError, TypeError, AttributeError):
        raise SourceUnavailableError(handle, "it does not say where to store files") from None
    for sha256, url in urls.items():
        _send(handle, url, paths[sha256])


def _send(handle: PresetHandle, url: str, path: Path) -> None:
    """Sends a file to a URL that the service has named; the checks of redirects apply to it."""
    endpoint = service.endpoint()
    policy = http.RedirectPolicy(handle, endpoint, endpoint, service.ENDPOINT)
    target = policy.resolve(f"{endpoint}/", url)
    login = service.login() if _is_of_service(target) else {}
    response = http.send(handle, target, login, method="PUT", body=path, policy=policy)
    response.finish()
    if response.status >= 300:
        raise http.error(handle, response.status, response.headers)


def _is_of_service(url: str) -> bool:
    """Returns whether a URL is of the endpoint, or of an encrypted host below its domain: only these get the token."""
    domain = f".{(urlsplit(service.endpoint()).hostname or '').removeprefix('www.')}"
    inside = url.startswith("https://") and f".{urlsplit(url).hostname}".endswith(domain)
    return inside or http.same_origin(url, service.endpoint())


def _action(file: PresetFile, path: Path) -> dict[str, Any]:
    if _is_large(file):
        return _described("create", file.name, kind="lfs", size=file.size, sha256=_sha256(file))
    content = base64.b64encode(path.read_bytes()).decode()
    return _described("create", file.name, size=file.size, content=content, encoding="base64")


def _described(
    action: str, path: str, kind: str = "normal", size: int = 0, sha256: str = "", content: str = "", encoding: str = ""
) -> dict[str, Any]:
    contents = {"size": size, "sha256": sha256, "content": content, "encoding": encoding}
    return {"action": action, "path": path, "type": kind, **contents}


def _post(handle: PresetHandle, path: str, document: Mapping[str, Any]) -> Any:
    """Sends a JSON document; returns that of the response.

    Raises:
        PresetError: the service refuses it, with the status 200 or another one.
    """
    response = service.api().send("POST", handle, path, json.dumps(document).encode(), _JSON)
    answer = http.read_json(handle, response, _LONGEST_ANSWER)
    if isinstance(answer, dict) and answer.get("Success") is False:
        code = str(answer.get("Code"))[:20]
        raise PresetError(f"Preset {str(handle)!r}: the service did not accept it (code {code}). See the model's page.")
    return answer


def _is_large(file: PresetFile) -> bool:
    return file.size > _LARGE or (file.size > 0 and file.name.endswith(file_names.WEIGHTS_SUFFIXES))


def _sha256(file: PresetFile) -> str:
    return str(file.digest).removeprefix("sha256:")
