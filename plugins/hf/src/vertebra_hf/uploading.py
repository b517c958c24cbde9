"""Publishes a preset as one commit, whose parent is the commit that was looked up."""

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

from vertebra import PresetFile, PresetHandle, RemoteSource, Snapshot, file_names, http
from vertebra.errors import PresetError, PresetExistsError, PresetNotFoundError, SourceUnavailableError, exception_text
from vertebra_hf.error_mapping import write_refusal
from vertebra_hf.hub import endpoint, importing

_WEIGHTS = re.compile(
    r"certificate\.safetensors|model(?:[-_]\d\S*)?\.(?:safetensors(?:\.index\.json)?|weights\.(?:h5|json))"
)
"""Names of files that, if left from another preset, would be read as weights of the new one."""


@dataclass(frozen=True, slots=True)
class Upload:
    """The files to publish, and the user's options."""

    files: Mapping[str, Path]
    replace: bool
    message: str


def upload(source: RemoteSource, handle: PresetHandle, repo: str, folder: str, wanted: Upload) -> PresetHandle:
    """Publishes files in a folder of a repository, which is created if missing; returns a pinned handle.

    Raises:
        PresetExistsError: the folder has a preset already, or the branch has changed since it was looked up.
        PresetAccessError: the user may not write to the repository.
        OSError: a file cannot be read.
    """
    for path in wanted.files.values():
        path.stat()  # a missing file is an error before the repository is created
    with importing():
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    api = HfApi(endpoint=endpoint(), library_name="vertebra")
    repo_handle = PresetHandle(handle.scheme, repo, handle.revision)
    current = _resolve_or_create(source, api, repo_handle, repo)
    present = {file.name.removeprefix(folder): file for file in current.files if file.name.startswith(folder)}
    stale = [name for name in present if name not in wanted.files and _is_stale(name, wanted.files)]
    if not stale and all(name in present and _is_same(present[name], path) for name, path in wanted.files.items()):
        return replace(handle, revision=current.handle.revision)
    if file_names.holds_any(present) and not wanted.replace:
        remedy = "Choose another repository or folder, or replace the preset with replace=True or --replace"
        raise PresetExistsError(handle, "another preset is already there", remedy)
    changes: list[Any] = [CommitOperationAdd(f"{folder}{name}", str(path)) for name, path in wanted.files.items()]
    changes += [CommitOperationDelete(f"{folder}{name}") for name in stale]
    with _mapped_errors(handle, repo), _bars_on_terminals():
        commit = api.create_commit(
            repo,
            changes,
            commit_message=wanted.message,
            revision=handle.revision,
            parent_commit=current.handle.revision,
        )
    return replace(handle, revision=commit.oid)


def _is_stale(name: str, wanted: Mapping[str, Path]) -> bool:
    """Returns whether a file of the repository would be read as part of the files that are published."""
    if _WEIGHTS.fullmatch(name):
        return True
    adapter = (file_names.CONFIG, file_names.ADAPTER_CONFIG, file_names.ADAPTER_TENSORS, file_names.ADAPTER_PICKLE)
    return file_names.CONFIG not in wanted and (name in adapter or bool(file_names.adapter_files([name])))


def _is_same(listed: PresetFile, path: Path) -> bool:
    """Returns whether a file of the repository equals a local file, by the digest that the hub lists."""
    algorithm, _, expected = (listed.digest or "").partition(":")
    if listed.size != path.stat().st_size:
        return False
    of_git = hashlib.sha1(b"blob %d\0" % listed.size, usedforsecurity=False)
    digest = hashlib.sha256() if algorithm == "sha256" else of_git
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest() == expected


def _resolve_or_create(source: RemoteSource, api: Any, repo_handle: PresetHandle, repo: str) -> Snapshot:
    try:
        return source.resolve_snapshot(repo_handle)
    except PresetNotFoundError:
        if repo_handle.revision not in (None, "main"):  # a new repository has no other branch
            raise
        with _mapped_errors(repo_handle, repo):
            api.create_repo(repo, exist_ok=True)
        return source.resolve_snapshot(repo_handle)


@contextlib.contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """Hides the client's progress bars unless stderr is a terminal."""
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
def _mapped_errors(handle: PresetHandle, repo: str) -> Iterator[None]:
    """Maps errors of the client library to Vertebra's errors."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)  # between the client's libraries
            yield
    except HfHubHTTPError as error:
        headers = {name.lower(): value for name, value in error.response.headers.items()}
        if error.response.status_code == 412:
            problem = "the branch has changed since it was looked up"
            raise PresetExistsError(handle, problem, "Check the repository, and try again") from None
        raise write_refusal(handle, repo, error.response.status_code, headers) from None
    except HFValidationError as error:
        raise PresetError(f"Preset {str(handle)!r}: {error}") from None
    except (HTTPError, OSError) as error:
        detail = http.without_queries(exception_text(error))
        raise SourceUnavailableError(handle, detail) from None
