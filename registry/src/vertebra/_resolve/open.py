"""Opening a preset: from the first candidate that has it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from vertebra import _arguments
from vertebra._configuration.settings import settings
from vertebra._discovery.extras import handle_to_install
from vertebra._resolve import candidates
from vertebra._resolve.failover import FAILOVER_ERRORS, Failover
from vertebra._resolve.listing import named_file
from vertebra._resolve.locked_plugins import check_plugins
from vertebra._resolve.lockfile import locked_preset, lockfile_path
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._resolve.signatures import trusted_keys
from vertebra._resolve.unpacked import unpacked
from vertebra._system.user_paths import similar_folders
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
"""The last kind in this list is raised if several candidates fail: that error may pass, or the user can fix it."""


def open_folder(
    preset: str | Path, locked: bool | None = None, keys: Sequence[str | Path] | None = None
) -> PresetFolder:
    """Opens the preset of an id, a handle or a path, as the policy plugins allow.

    If the preset has several candidates, such as a mirror and its original, the first one that has it is used.

    Args:
        preset: The id, handle or path.
        locked: Whether the preset must match the lockfile; None means as in the settings.
        keys: The keys of which one must have signed the preset, none to require no signature, or None for those of the
            settings, if these require one.

    Raises:
        ArgumentError: `preset` is neither a string, nor a path, nor a handle.
        LockError: the lockfile has no entry for the preset, or the entry is of another preset; or plugins have other
            versions than in the entry, and the settings do not allow that.
        HandleError: the text is not a valid handle.
        UnknownNameError: no installed source reads the handle's scheme.
        PresetNotFoundError: no candidate has the preset.
        PresetRefusedError: a policy plugin refused the preset.
        SignatureError: the preset must be signed, and is not, by another key, or has other files.
        WeightsFileError: the preset is a single file in a `FileFormat`, which is unsound.
    """
    preset = _arguments.preset("from_preset", preset)
    requested, trusted = str(preset), trusted_keys(keys)
    entry = locked_preset(requested) if (settings().locked if locked is None else locked) else None
    if entry is not None:
        check_plugins(requested, entry)
    if entry is not None and entry.handle is not None:
        _check_name(requested, entry.handle)
    failover = Failover(candidates.candidate_handles(preset, entry.handle if entry else None))
    folder = None
    with contextlib.suppress(*FAILOVER_ERRORS):
        folder = PresetFolder(requested, failover, entry, trusted)
    if folder is None:
        raise _no_candidate(requested, failover.failures)
    return unpacked(folder)


def _check_name(requested: str, locked: PresetHandle) -> None:
    """Checks that a handle of the lockfile belongs to the requested text: a lockfile must not rename a preset.

    Raises:
        LockError: the handle is of another preset.
    """
    try:
        variants = candidates.handle_variants(requested)
    except PresetNotFoundError:  # such as an id of a plugin that is not installed
        return
    folders = [named[0] for handle in variants if (named := named_file(handle)) is not None]
    if not any(candidates.is_revision(locked, handle) for handle in (*variants, *folders)):
        problem = f"it maps {requested!r} to {locked}, which is another preset"
        remedy = (
            "Use it with the mirror that it was created with, or lock the preset again with: vertebra lock --update"
        )
        raise LockError(lockfile_path(), problem, f"{remedy} {requested}")


def _no_candidate(requested: str, failures: list[VertebraError]) -> VertebraError:
    """Returns the error for a preset that no candidate has: the most informative failure, with the others as notes."""
    offline = all(isinstance(failure, OfflineError) for failure in failures)
    last = failures[0] if offline else max(reversed(failures), key=_severity)
    others = list(failures)
    others.remove(last)
    if isinstance(last, PresetNotFoundError) and not last.suggestions and "://" not in requested:
        last = _with_suggestions(last, requested)
    handle = getattr(last, "handle", None)
    is_path = candidates.is_plain_path(requested)
    if isinstance(handle, PresetHandle) and not is_path and not _is_written(handle, requested):
        last.add_note(f"{requested!r} was resolved to {handle} by a built-in id or a policy")
    for other in others:
        last.add_note(f"Another candidate failed, too: {other}")
    return last


def _with_suggestions(error: PresetNotFoundError, requested: str) -> PresetNotFoundError:
    """Returns the error on a path with neighbouring folders that have a similar name, and handles of that name."""
    similar = [*similar_folders(requested), *candidates.suggested_handles(requested)]
    uninstalled = None if similar else handle_to_install(requested)
    remedy = f"{uninstalled}. If it is a path, check the path" if uninstalled else ""
    return PresetNotFoundError(error.handle, error.problem, similar, remedy)


def _severity(failure: VertebraError) -> int:
    return max((rank for rank, kind in enumerate(_BY_SEVERITY, 1) if isinstance(failure, kind)), default=0)


def _is_written(handle: PresetHandle, requested: str) -> bool:
    """Returns whether a handle is the one that the user wrote, ignoring revisions."""
    with contextlib.suppress(VertebraError):
        return candidates.unpinned(handle) == candidates.unpinned(PresetHandle.parse(requested))
    return False
