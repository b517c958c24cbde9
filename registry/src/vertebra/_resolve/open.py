"""Opening a preset: at the first of its places that has it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from vertebra import _arguments
from vertebra._configuration.settings import settings
from vertebra._resolve import candidates
from vertebra._resolve.failover import FAILOVER_ERRORS, Failover
from vertebra._resolve.lockfile import locked_preset, lockfile_path
from vertebra._resolve.preset_folder import PresetFolder
from vertebra.errors import (
    LockError,
    OfflineError,
    PresetAccessError,
    PresetNotFoundError,
    PresetRefusedError,
    SourceUnavailableError,
    VertebraError,
)
from vertebra.handles import PresetHandle

_BY_SEVERITY = (PresetRefusedError, OfflineError, PresetAccessError, SourceUnavailableError)
"""Of the errors of several places, the later one here is raised: it may pass, or the user can do something about it."""


def open_folder(preset: str | Path, locked: bool | None = None) -> PresetFolder:
    """Finds the preset that an id, a handle or a path means, as the policy plugins allow.

    Where it has several places, such as a mirror and what it mirrors, the first that has it is taken.

    Args:
        preset: What the user wrote.
        locked: Whether it must be what the lockfile says; None means as the user's settings say.

    Raises:
        ArgumentError: it is neither a text, nor a path, nor a handle.
        LockError: the lockfile does not have it, or has another preset under its name.
        HandleError: the text cannot be a preset.
        UnknownNameError: no source reads the handle's scheme.
        PresetNotFoundError: nothing is there.
        PresetRefusedError: a policy plugin refused it.
    """
    preset = _arguments.preset("from_preset", preset)
    requested = str(preset)
    entry = locked_preset(requested) if (settings().locked if locked is None else locked) else None
    if entry is not None and entry.handle is not None:
        _check_name(requested, entry.handle)
    failover = Failover(candidates.candidate_handles(preset, entry.handle if entry else None))
    with contextlib.suppress(*FAILOVER_ERRORS):
        return PresetFolder(requested, failover, entry)
    raise _no_candidate(requested, failover.failures)


def _check_name(requested: str, locked: PresetHandle) -> None:
    """Compares the handle of a lockfile with what its text means: it must not give one preset the name of another.

    Raises:
        LockError: it is of another preset.
    """
    try:
        meant = candidates.handle_variants(requested)
    except PresetNotFoundError:  # such as the id of a plugin that is not installed: it is the name of nothing else
        return
    if not any(candidates.is_revision(locked, handle) for handle in meant):
        problem = f"it says that {requested!r} is {locked}, which is another preset"
        remedy = (
            "Use it behind the mirror that it was made behind, or lock the preset again with: vertebra lock --update"
        )
        raise LockError(lockfile_path(), problem, f"{remedy} {requested}")


def _no_candidate(requested: str, failures: list[VertebraError]) -> VertebraError:
    """Returns the error for a preset that was had at none of its places: the most telling one, with the others."""
    offline = all(isinstance(failure, OfflineError) for failure in failures)
    last = failures[0] if offline else max(reversed(failures), key=_severity)
    others = list(failures)
    others.remove(last)
    if isinstance(last, PresetNotFoundError) and not last.suggestions and "://" not in requested:
        last = PresetNotFoundError(last.handle, last.problem, candidates.suggested_handles(requested))
    handle = getattr(last, "handle", None)
    plain = candidates.is_plain_path(requested)
    if isinstance(handle, PresetHandle) and not plain and not _is_written(handle, requested):
        last.add_note(f"{handle} is where {requested!r} leads to here, by a built-in id or a policy")
    for other in others:
        last.add_note(f"At another of its places: {other}")
    return last


def _severity(failure: VertebraError) -> int:
    return max((rank for rank, kind in enumerate(_BY_SEVERITY, 1) if isinstance(failure, kind)), default=0)


def _is_written(handle: PresetHandle, requested: str) -> bool:
    """Says whether a handle is what the user has written, at whichever revision."""
    with contextlib.suppress(VertebraError):
        return candidates.unpinned(handle) == candidates.unpinned(PresetHandle.parse(requested))
    return False
