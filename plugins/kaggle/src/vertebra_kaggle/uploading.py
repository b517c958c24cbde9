"""Publishing a preset: a new version of a variation, which is made if need be, with its model."""

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

from vertebra import PresetHandle, RemoteSource, Snapshot
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
"""How long Kaggle may take until a version is there, and how often it is asked."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What is to be published."""

    variation: str
    files: Mapping[str, Path]
    replace: bool
    message: str


def upload(source: RemoteSource, handle: PresetHandle, wanted: Upload) -> PresetHandle:
    """Publishes files as a new version; returns a handle of it. Versions before stay as they are.

    Raises:
        PresetExistsError: there is a version that is a preset, and `replace` is False.
        PresetAccessError: the user may not write there.
    """
    with importing():
        from kagglehub import model_upload
    there = _looked_up(source, handle)
    before = version_of(there.handle) or 0 if there else 0
    if there and not wanted.replace and any(file.name == "config.json" for file in there.files):
        problem = f"version {before} of the variation is a preset"
        raise PresetExistsError(
            handle, problem, "Choose another place, or add a version with replace=True or --replace"
        )
    with tempfile.TemporaryDirectory(prefix="vertebra-kaggle-") as folder:
        _stage(wanted.files, Path(folder))
        with _explained(handle), _quiet():
            model_upload(wanted.variation, folder, version_notes=wanted.message)
    return _published(source, handle, wanted, before)


def _looked_up(source: RemoteSource, handle: PresetHandle) -> Snapshot | None:
    try:
        return source.resolve_snapshot(handle)
    except (PresetNotFoundError, PresetAccessError):  # which of these it is, Kaggle does not always tell
        return None


def _stage(files: Mapping[str, Path], folder: Path) -> None:
    """Makes a folder of files that are elsewhere, without copying them where links can be made."""
    for name, path in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.symlink_to(path.absolute())
        except OSError:
            shutil.copyfile(path, place)


def _published(source: RemoteSource, handle: PresetHandle, wanted: Upload, before: int) -> PresetHandle:
    """Returns the version that has these files: Kaggle does not say which it is, and others may publish, too."""
    sizes = {name: path.stat().st_size for name, path in wanted.files.items()}
    until = time.monotonic() + PROCESSING_SECONDS
    while True:
        found = _version_with(source, handle, sizes, before)
        if found is not None:
            return found
        if time.monotonic() > until:
            problem = "it was sent, and Kaggle has not made a version of it yet; look at the model's page"
            raise SourceUnavailableError(handle, problem)
        time.sleep(_PAUSE)


def _version_with(
    source: RemoteSource, handle: PresetHandle, sizes: Mapping[str, int], before: int
) -> PresetHandle | None:
    """Returns the first version after another one that has files of these sizes, if Kaggle shows one by now."""
    try:
        newest = version_of(source.resolve_snapshot(handle).handle) or 0
        for version in range(before + 1, newest + 1):
            pinned = replace(handle, path=f"{handle.path}/{version}")
            if {file.name: file.size for file in source.resolve_snapshot(pinned).files} == sizes:
                return pinned
    except (PresetNotFoundError, PresetAccessError, SourceUnavailableError):  # it is still at work, or out of breath
        return None
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the client tells from where a command prints its results."""
    log = logging.getLogger("kagglehub")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def _explained(handle: PresetHandle) -> Iterator[None]:
    """Says what an error of the client library means; its own words may hold addresses that are secret."""
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
        problem = f"Kaggle did not take it{code}; the model's page may say why"
        raise PresetError(f"Preset {str(handle)!r}: nothing was published: {problem}.") from None
    except client_errors() as error:
        raise _not_published(handle, error) from None


def _not_published(handle: PresetHandle, error: BaseException) -> SourceUnavailableError:
    return SourceUnavailableError(handle, f"Kaggle, or its storage, gave no whole answer ({reason(error)})")
