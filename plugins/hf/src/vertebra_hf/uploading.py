"""Publishing a preset: one commit, on top of the one that was looked at."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vertebra import PresetFile, PresetHandle, RemoteSource, Snapshot, http
from vertebra.errors import PresetError, PresetExistsError, PresetNotFoundError, SourceUnavailableError
from vertebra_hf.error_mapping import write_refusal
from vertebra_hf.hub import endpoint, importing

_WEIGHTS = re.compile(
    r"certificate\.safetensors|model(?:[-_]\d\S*)?\.(?:safetensors(?:\.index\.json)?|weights\.(?:h5|json))"
)
"""Files that, left from another preset, would be taken for weights of this one."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What is to be published."""

    files: Mapping[str, Path]
    replace: bool
    message: str


def upload(source: RemoteSource, handle: PresetHandle, repo: str, folder: str, wanted: Upload) -> PresetHandle:
    """Publishes files in a folder of a repository, which is made if need be; returns a pinned handle.

    Raises:
        PresetExistsError: a preset stands there, or somebody else has changed the branch meanwhile.
        PresetAccessError: the user may not write there.
    """
    with importing():
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    api = HfApi(endpoint=endpoint(), library_name="vertebra")
    whole = PresetHandle(handle.scheme, repo, handle.revision)
    found = _looked_up(source, api, whole, repo)
    there = {file.name.removeprefix(folder): file for file in found.files if file.name.startswith(folder)}
    stale = [name for name in there if name not in wanted.files and _WEIGHTS.fullmatch(name)]
    if not stale and all(name in there and _is_same(there[name], path) for name, path in wanted.files.items()):
        return replace(handle, revision=found.handle.revision)
    if "config.json" in there and not wanted.replace:
        remedy = "Choose another place, or replace it with replace=True or --replace"
        raise PresetExistsError(handle, "another preset stands there", remedy)
    changes: list[Any] = [CommitOperationAdd(f"{folder}{name}", str(path)) for name, path in wanted.files.items()]
    changes += [CommitOperationDelete(f"{folder}{name}") for name in stale]
    with _explained(handle, repo), _bars_on_terminals():
        done = api.create_commit(
            repo,
            changes,
            commit_message=wanted.message,
            revision=handle.revision,
            parent_commit=found.handle.revision,
        )
    return replace(handle, revision=done.oid)


def _is_same(listed: PresetFile, path: Path) -> bool:
    """Says whether a file of the repository has the content of a local one, by what the hub calls it."""
    algorithm, _, expected = (listed.digest or "").partition(":")
    if listed.size != path.stat().st_size:
        return False
    of_git = hashlib.sha1(b"blob %d\0" % listed.size, usedforsecurity=False)
    digest = hashlib.sha256() if algorithm == "sha256" else of_git
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest() == expected


def _looked_up(source: RemoteSource, api: Any, whole: PresetHandle, repo: str) -> Snapshot:
    try:
        return source.resolve_snapshot(whole)
    except PresetNotFoundError:
        if whole.revision not in (None, "main"):  # of a repository that is not there, no other branch is
            raise
        with _explained(whole, repo):
            api.create_repo(repo, exist_ok=True)
        return source.resolve_snapshot(whole)


@contextlib.contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """Keeps the client's bars from where nobody watches."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextlib.contextmanager
def _explained(handle: PresetHandle, repo: str) -> Iterator[None]:
    """Says what an error of the client library means."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)  # between the client's libraries
            yield
    except HfHubHTTPError as error:
        headers = {name.lower(): value for name, value in error.response.headers.items()}
        if error.response.status_code == 412:
            problem = "somebody else has changed the branch since it was looked at"
            raise PresetExistsError(handle, problem, "See what stands there now, and try again") from None
        raise write_refusal(handle, repo, error.response.status_code, headers) from None
    except HFValidationError as error:
        raise PresetError(f"Preset {str(handle)!r}: {error}") from None
    except (HTTPError, OSError) as error:
        detail = http.without_queries(f"{type(error).__name__}: {error}")
        raise SourceUnavailableError(handle, detail) from None
