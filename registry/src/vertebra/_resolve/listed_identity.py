"""Compares files of a local preset with their identities in its file list."""

from __future__ import annotations

from collections.abc import Iterable

from vertebra._system.file_identity import Identity, identity_at
from vertebra.specs import PresetFile


def changed_file(files: Iterable[PresetFile]) -> str | None:
    """Returns the name of a file that changed since the listing, or None if there is none."""
    return next(
        (file.name for file in files if file.identity is not None and _identity_now(file) != file.identity), None
    )


def was_written_to(file: PresetFile) -> bool:
    """Returns whether a listed file was written to in place, which changes its mapped bytes, too."""
    now = _identity_now(file)
    return now is not None and file.identity is not None and now[:2] == file.identity[:2] and now != file.identity


def _identity_now(file: PresetFile) -> Identity | None:
    return None if file.path is None else identity_at(file.path)
