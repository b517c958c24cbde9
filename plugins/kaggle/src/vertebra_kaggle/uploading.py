"""Publishes a preset as a new version of a variation; a missing variation is created, with its model."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vertebra import PresetHandle, RemoteSource, Snapshot, file_names
from vertebra.errors import (
    PresetAccessError,
    PresetError,
    PresetExistsError,
    PresetNotFoundError,
    SourceUnavailableError,
)
from vertebra_kaggle.client import client_errors, importing, reason
from vertebra_kaggle.error_mapping import write_refusal
from vertebra_kaggle.variations import version_of

PROCESSING_SECONDS, _PAUSE = 600.0, 2.0
"""How long to wait for Kaggle to create a version, and the pause between two checks."""


@dataclass(frozen=True, slots=True)
class Upload:
    """The files to publish, and the user's options."""

    variation: str
    files: Mapping[str, Path]
    replace: bool
    message: str


def upload(source: RemoteSource, handle: PresetHandle, wanted: Upload) -> PresetHandle:
    """Publishes files as a new version, and returns its pinned handle. Earlier versions stay.

    Raises:
        PresetExistsError: the newest version is a preset, and `replace` is False.
        PresetAccessError: the user may not write to the model.
        OSError: a file cannot be read.
    """
    for path in wanted.files.values():
        path.stat()  # kagglehub leaves out a missing file, and publishes the others
    with importing():
        from kagglehub import model_upload
    current = _newest_snapshot(source, handle)
    before = version_of(current.handle) or 0 if current else 0
    if current and not wanted.replace and file_names.holds_any([file.name for file in current.files]):
        problem = f"version {before} of the variation is a preset"
        remedy = "Choose another variation, or add a version with replace=True or --replace"
        raise PresetExistsError(handle, problem, remedy)
    with tempfile.TemporaryDirectory(prefix="vertebra-kaggle-") as folder:
        _stage(wanted.files, Path(folder))
        with _mapped_errors(handle), _quiet():
            model_upload(wanted.variation, folder, version_notes=wanted.message)
    return _published(source, handle, wanted, before)


def _newest_snapshot(source: RemoteSource, handle: PresetHandle) -> Snapshot | None:
    try:
        return source.resolve_snapshot(handle)
    except (PresetNotFoundError, PresetAccessError):  # Kaggle's response does not always tell one from the other
        return None


def _stage(files: Mapping[str, Path], folder: Path) -> None:
    """Puts links to files into a folder, or copies where the system makes no links."""
    for name, path in files.items():
        staged = folder / name
        staged.parent.mkdir(parents=True, exist_ok=True)
        try:
            staged.symlink_to(path.absolute())
        except OSError:
            shutil.copyfile(path, staged)


def _published(source: RemoteSource, handle: PresetHandle, wanted: Upload, before: int) -> PresetHandle:
    """Waits for the version with these files: Kaggle does not return its number, and others may publish, too."""
    sizes = {name: path.stat().st_size for name, path in wanted.files.items()}
    until = time.monotonic() + PROCESSING_SECONDS
    while True:
        pinned = _version_with(source, handle, sizes, before)
        if pinned is not None:
            return pinned
        if time.monotonic() > until:
            problem = "the files were sent, but Kaggle has not created the version yet; check the model's page"
            raise SourceUnavailableError(handle, problem)
        time.sleep(_PAUSE)


def _version_with(
    source: RemoteSource, handle: PresetHandle, sizes: Mapping[str, int], before: int
) -> PresetHandle | None:
    """Returns the first version after version `before` with files of these sizes, or None if there is none yet."""
    try:
        newest = version_of(source.resolve_snapshot(handle).handle) or 0
        for version in range(before + 1, newest + 1):
            pinned = replace(handle, path=f"{handle.path}/{version}")
            if {file.name: file.size for file in source.resolve_snapshot(pinned).files} == sizes:
                return pinned
    except (
        PresetNotFoundError,
        PresetAccessError,
        SourceUnavailableError,
    ):  # Kaggle is still processing, or overloaded
        return None
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides the client's log messages, and sends its output to stderr: stdout is for the results of commands."""
    log = logging.getLogger("kagglehub")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def _mapped_errors(handle: PresetHandle) -> Iterator[None]:
    """Maps errors of the client library to Vertebra's errors, without their messages, which may hold secret URLs."""
    from kagglehub.exceptions import BackendError
    from requests import HTTPError

    try:
        yield
    except HTTPError as error:
        response: Any = error.response
        if response is None:
            raise _not_published(handle, error) from None
        headers = {name.lower(): value for name, value in response.headers.items()}
        raise write_refusal(handle, response.status_code, headers) from None
    except BackendError as error:
        code = f" (error {error.error_code})" if error.error_code else ""
        problem = f"Kaggle did not accept it{code}; the model's page may say why"
        raise PresetError(f"Preset {str(handle)!r}: nothing was published: {problem}.") from None
    except client_errors() as error:
        raise _not_published(handle, error) from None


def _not_published(handle: PresetHandle, error: BaseException) -> SourceUnavailableError:
    return SourceUnavailableError(handle, f"Kaggle, or its storage, sent no complete response ({reason(error)})")
