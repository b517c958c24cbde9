"""The lockfile: which revision and which bytes each preset of a project has, across all sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vertebra._arguments import flag
from vertebra._cache.default_store import cache_folder
from vertebra._cache.digest import digest_of
from vertebra._configuration.settings import settings
from vertebra._system.atomic_save import replacing_file
from vertebra._system.strict_json import dump_json, parse_json
from vertebra.errors import IntegrityError, LockError, VertebraError, close_names
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

NAME = "vertebra.lock"
_VERSION = 1
_as_locked: set[tuple[object, ...]] = set()
"""States of files that were as they are locked."""


@dataclass(frozen=True, slots=True)
class LockedPreset:
    """What a preset is."""

    handle: PresetHandle | None
    """A handle of an immutable revision, where the source has such; None for a path, which is found anew each time."""
    files: tuple[PresetFile, ...]
    """All files, each with its SHA-256."""


@dataclass(frozen=True, slots=True)
class Lockfile:
    """The presets of a project."""

    presets: Mapping[str, LockedPreset] = field(default_factory=dict)
    """By what is passed to `from_preset`."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """Versions of the distributions that were installed when it was written."""


def lockfile_path() -> Path:
    """Returns where the lockfile is: `VERTEBRA_LOCKFILE`, or `vertebra.lock` in the current folder."""
    return Path(settings().lockfile or Path.cwd() / NAME)


def read_lockfile(path: Path) -> Lockfile:
    """Reads a lockfile.

    Raises:
        LockError: it is missing or unsound.
    """
    try:
        data = parse_json(path.read_bytes(), lambda problem: _unsound(path, problem))
    except FileNotFoundError:
        raise LockError(path, "there is none", "Write it with: vertebra lock PRESET...") from None
    except OSError as error:
        raise _unsound(path, str(error)) from error
    if data.get("version") != _VERSION:
        raise _unsound(path, f"its version is {data.get('version')!r}, and {_VERSION} is known here")
    try:
        presets = {str(name): _preset_from(facts) for name, facts in data["presets"].items()}
        return Lockfile(presets, {str(name): str(version) for name, version in data["plugins"].items()})
    except (KeyError, TypeError, ValueError, AttributeError, VertebraError) as error:
        raise _unsound(path, f"it does not have the form of one ({error})") from error


def write_lockfile(path: Path, lockfile: Lockfile) -> None:
    """Writes a lockfile, in place of the one that is there.

    Raises:
        PresetSaveError: it cannot be written; the one that is there stays.
    """
    data = {
        "version": _VERSION,
        "presets": {name: _preset_as_data(preset) for name, preset in sorted(lockfile.presets.items())},
        "plugins": dict(sorted(lockfile.plugins.items())),
    }
    with replacing_file(path) as stage:
        stage.write_bytes(dump_json(data))


def locked_preset(requested: str) -> LockedPreset:
    """Returns what the lockfile says that a preset is.

    Raises:
        LockError: the lockfile is missing or unsound, or does not have it.
    """
    path = lockfile_path()
    presets = read_lockfile(path).presets
    if requested not in presets:
        similar = close_names(requested, presets)
        hint = f" (it has {similar[0]!r})" if similar else ""
        raise LockError(path, f"it does not have {requested!r}{hint}", f"Add it with: vertebra lock {requested}")
    return presets[requested]


def check_unlocked(locked: bool | None) -> None:
    """Checks the argument `locked` of a load.

    Raises:
        ArgumentError: it is neither a bool nor None.
        LockError: it is False, and the machine enforces that presets are locked.
    """
    if locked is not None and not flag("from_preset", "locked", locked) and settings().is_enforced("locked"):
        problem = f"{settings().origin('locked')} has presets load as they are locked, and locked=False was asked for"
        raise LockError(lockfile_path(), problem, "Leave the argument out")


def verify_locked(
    handle: PresetHandle, files: Sequence[PresetFile], fetch: Callable[[], list[Path]], in_cache: bool
) -> list[Path]:
    """Fetches files and compares their contents with the lockfile.

    Args:
        handle: The pinned handle.
        files: The files, with the lockfile's sizes and digests.
        fetch: Returns their local paths.
        in_cache: Whether these are in the cache or one of its tiers.

    Raises:
        LockError: a file differs.
    """
    try:
        paths = fetch()
    except IntegrityError as error:
        raise _changed(handle, error.name, error.problem) from error
    for file, path in zip(files, paths, strict=True):
        problem = _differs_now(file, path)
        if problem:
            raise _changed(handle, file.name, problem, path if in_cache else None)
    return paths


def _differs_now(file: PresetFile, path: Path) -> str | None:
    """Does as `differs`, once for as long as a file is not written to: a process may load a preset often."""
    try:
        facts = path.stat()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    state = path, file, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
    if state in _as_locked:
        return None
    problem = differs(file, path)
    if problem is None:
        _as_locked.add(state)
    return problem


def differs(file: PresetFile, path: Path) -> str | None:
    """Returns how a local file differs from what is locked, or None if it does not."""
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"it has {size:,} bytes, expected {file.size:,}"
        return digest_of(path, file.digest).mismatch()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def locked_files(files: Sequence[PresetFile], paths: Sequence[Path]) -> tuple[PresetFile, ...]:
    """Returns files with the SHA-256 of what stands at some paths."""
    return tuple(
        replace(file, path=None, size=path.stat().st_size, digest=f"sha256:{digest_of(path).sha256()}")
        for file, path in zip(files, paths, strict=True)
    )


def _preset_as_data(preset: LockedPreset) -> dict[str, Any]:
    files = {file.name: {"size": file.size, "sha256": (file.digest or "")[7:]} for file in preset.files}
    return {"handle": None if preset.handle is None else str(preset.handle), "files": files}


def _preset_from(facts: Mapping[str, Any]) -> LockedPreset:
    files = []
    for name, file in facts["files"].items():
        size, sha256 = file["size"], file["sha256"]
        if type(size) is not int or size < 0 or len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ValueError(f"size or sha256 of {name!r}")
        files.append(PresetFile(name, size, None, f"sha256:{sha256}"))
    handle = facts["handle"]
    return LockedPreset(None if handle is None else PresetHandle.parse(handle), tuple(files))


def _changed(handle: PresetHandle, name: str, problem: str, cached: Path | None = None) -> LockError:
    remedy = "Find out why it changed; if the change is meant, write it down with: vertebra lock --update"
    if cached is not None and cached.is_relative_to(cache_folder()):
        remedy = "It was changed in the cache; have it fetched again with: vertebra cache verify --repair"
    elif cached is not None:
        remedy = f"Mend the cache tier that has {cached}, or leave the tier out"
    return LockError(lockfile_path(), f"{name} of {str(handle)!r} is not what it names: {problem}", remedy)


def _unsound(path: Path, problem: str) -> LockError:
    return LockError(path, problem, "Restore it, or remove it and write another with: vertebra lock PRESET")
