"""Locks presets: writes their revisions and digests into a lockfile, and checks presets and files against it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vertebra._cache.cached_source import is_current, open_source
from vertebra._cache.default_store import default_store
from vertebra._cache.layout import blob_path, sha256_of
from vertebra._cache.verify import corruption_of
from vertebra._discovery.catalog import BACKBONES, FORMATS, SOURCES, STRATEGIES, catalog
from vertebra._discovery.plugin import Owner
from vertebra._discovery.plugins import builtin_plugin, registry
from vertebra._formats.registry import read_description
from vertebra._lora.files.adapter_files import find_files, holds_adapter
from vertebra._resolve.candidates import candidate_handles, is_plain_path, source_of
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.filenames import is_hidden
from vertebra._resolve.locked_plugins import Differences, differing_plugins
from vertebra._resolve.lockfile import LockedPreset, Lockfile, difference, locked_files, read_lockfile, write_lockfile
from vertebra._resolve.open import open_folder
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.folder_lock import folder_lock
from vertebra.errors import (
    LockError,
    OfflineError,
    PresetNotFoundError,
    SourceUnavailableError,
    UnknownNameError,
    VertebraError,
)
from vertebra.interfaces import LocalSource
from vertebra.specs import PresetFile


@dataclass(frozen=True, slots=True)
class LockStatus:
    """The result of locking a preset, or of comparing it with the lockfile."""

    requested: str
    state: str
    """Of locking: `added`, `updated`, `unchanged`, `kept` (not checked) or `removed`. Of comparing: `unchanged`,
    `changed`, or `moved` (another handle). Of either: `gone` (not found), or `unknown` (its source is unavailable)."""
    preset: LockedPreset
    before: LockedPreset | None = None
    """The preset's earlier entry in the lockfile."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Files of the preset that are not locked because they are not used, each with the reason."""


@dataclass(slots=True)
class VerifiedPreset:
    """The local files of a preset, compared with the lockfile."""

    requested: str
    handle: str | None
    size: int
    """Bytes of all its files."""
    right: list[str] = field(default_factory=list)
    """Local files that match the lockfile."""
    missing: list[str] = field(default_factory=list)
    """Files that are not on this machine."""
    different: dict[str, str] = field(default_factory=dict)
    """Local files that do not match the lockfile, with the difference."""
    plugins: Differences | None = None
    """Plugins that read it when it was locked, and have another version now; None if the lockfile does not tell."""


def lock_presets(presets: Sequence[str], path: Path, update: bool, remove: bool = False) -> list[LockStatus]:
    """Adds presets to a lockfile, updates them or removes them.

    Args:
        presets: Presets, as passed to `from_preset`; with `update`, empty means all presets in the lockfile.
        path: The lockfile, which need not exist.
        update: Whether presets that are in the lockfile are locked to their present revision; else they are kept.
        remove: Whether the presets are removed from the lockfile instead.

    Raises:
        LockError: the lockfile is unsound, or a preset to remove is not in it.
        PresetError: a preset is not found, or cannot be fetched to be hashed because its source lists no SHA-256.
    """
    lockfile = read_lockfile(path) if path.exists() or remove or not presets else Lockfile()
    known = lockfile.presets
    done: list[LockStatus] = []
    for requested in dict.fromkeys(presets or (known if update else ())):
        before = known.get(requested)
        if remove:
            if before is None:
                raise LockError(
                    path, f"{requested!r} is not in it", "Check the spelling: the lockfile has the handles to load by"
                )
            done.append(LockStatus(requested, "removed", before, before))
        elif before is not None and not update:
            done.append(LockStatus(requested, "kept", before, before))
        elif before is None:
            done.append(read_consistently(requested, _added, locked=False))
        else:
            done.append(_update(requested, before))
    _write_changes(path, done, update)
    return done


def _write_changes(path: Path, done: Sequence[LockStatus], update: bool) -> None:
    """Writes the changed entries into the lockfile; another process may have changed other entries meanwhile."""
    with folder_lock(path.absolute().parent):
        lockfile = read_lockfile(path) if path.exists() else Lockfile()
        presets = dict(lockfile.presets)
        for status in done:
            if status.state == "removed":
                presets.pop(status.requested, None)
            elif status.state in ("added", "updated"):
                presets[status.requested] = status.preset
        plugins, states = _plugin_versions(), {status.state for status in done}
        if states & {"added", "updated", "removed"} or (update and plugins != lockfile.plugins):
            write_lockfile(path, Lockfile(presets, plugins))


def compare_lock(path: Path) -> Iterator[LockStatus]:
    """Compares each preset in a lockfile with its present revision; changes nothing.

    Raises:
        LockError: the lockfile is missing or unsound.
        PresetError: a preset cannot be read.
    """
    for requested, before in read_lockfile(path).presets.items():
        current = _open_current(requested, before)
        yield current if isinstance(current, LockStatus) else _compare(current, before)


def _open_current(requested: str, before: LockedPreset) -> PresetFolder | LockStatus:
    """Opens the present revision of a locked preset, or returns a status if it is gone or unknown."""
    try:
        folder = open_folder(requested, locked=False)
    except PresetNotFoundError:
        return LockStatus(requested, "gone", before, before)
    except (SourceUnavailableError, OfflineError):
        return LockStatus(requested, "unknown", before, before)
    unavailable = [error for error in folder.skipped if isinstance(error, SourceUnavailableError)]
    if unavailable or not is_current(folder.located) or not folder.is_complete:
        return LockStatus(requested, "unknown", before, before)
    return folder


def _added(folder: PresetFolder) -> LockStatus:
    return LockStatus(folder.requested, "added", _lock(folder), left_out=folder.left_out)


def _update(requested: str, before: LockedPreset) -> LockStatus:
    current = _open_current(requested, before)
    if isinstance(current, LockStatus):
        return current
    preset = _lock(current)
    state = "unchanged" if (before, before.plugins) == (preset, preset.plugins) else "updated"
    return LockStatus(requested, state, preset, before, current.left_out)


def _compare(folder: PresetFolder, before: LockedPreset) -> LockStatus:
    if before.handle not in (None, folder.handle) and not _has_same_bytes(folder, before):
        moved = replace(before, handle=folder.handle)
        return LockStatus(folder.requested, "moved", moved, before, folder.left_out)
    preset = LockedPreset(before.handle, _listed_files(folder, before)) if _is_pinned(folder) else _lock(folder)
    state = "unchanged" if _without_hidden(preset) == _without_hidden(before) else "changed"
    return LockStatus(folder.requested, state, preset, before, folder.left_out)


def _without_hidden(preset: LockedPreset) -> LockedPreset:
    """Returns an entry without hidden files: no load reads one, and they are not listed if a signature is required."""
    return replace(preset, files=tuple(file for file in preset.files if not is_hidden(file.name)))


def verify_lock(path: Path) -> tuple[list[VerifiedPreset], dict[str, tuple[str, str | None]]]:
    """Hashes the local files of the presets in a lockfile; uses no network.

    Returns:
        The comparison of each preset; and the plugins whose version differs, with the locked version and the installed
        one, which is None if the plugin is not installed.

    Raises:
        LockError: the lockfile is missing or unsound.
    """
    lockfile = read_lockfile(path)
    installed = _plugin_versions()
    locked = lockfile.plugins.items()
    differing = {name: (version, installed.get(name)) for name, version in locked if installed.get(name) != version}
    return [_verify(requested, preset) for requested, preset in lockfile.presets.items()], differing


def _is_pinned(folder: PresetFolder) -> bool:
    """Says whether the handle of a folder is pinned: it names the same bytes for ever."""
    return folder.source.is_pinned(folder.handle)


def _lock(folder: PresetFolder) -> LockedPreset:
    """Returns the lockfile entry of a preset; fetches and hashes the files whose SHA-256 the source does not list.

    Raises:
        PresetChangedError: the preset was replaced while its files were hashed.
    """
    folder.require_complete()
    if folder.is_signed and not folder.source.is_remote:
        folder.fetch_all([file.name for file in folder.files])  # the signed digests are not yet those of the files
    unhashed = [file for file in folder.files if sha256_of(file) is None]
    hashed = locked_files(unhashed, folder.fetch_all([file.name for file in unhashed])) if unhashed else ()
    plugins = _readers(folder)
    folder.check_all()
    known = [
        PresetFile(file.name, file.size, None, f"sha256:{sha256_of(file)}") for file in folder.files if sha256_of(file)
    ]
    files = tuple(sorted([*known, *hashed], key=lambda file: file.name))
    return LockedPreset(None if is_plain_path(folder.requested) else folder.handle, files, plugins)


def _readers(folder: PresetFolder) -> dict[str, str]:
    """Returns the versions of the distributions that read a preset: the core, its source, and what its config names.

    Of a remote preset, the config or the headers of an adapter are fetched for this. A preset that no plugin here can
    describe is locked, too.
    """
    owners = [builtin_plugin().owner, catalog(SOURCES).lookup(folder.handle.scheme).owner]
    with contextlib.suppress(VertebraError):
        owners += _readers_of_adapter(folder) if holds_adapter(folder) else _readers_of_preset(folder)
    return {owner.distribution: owner.version for owner in owners if owner.version}  # an added plugin has no version


def _readers_of_preset(folder: PresetFolder) -> list[Owner]:
    description = read_description(folder)
    claims = [*catalog(BACKBONES).claims(), *catalog(FORMATS).claims()]
    return [entry.owner for entry in claims if entry.name in (description.backbone, description.format)]


def _readers_of_adapter(folder: PresetFolder) -> list[Owner]:
    from vertebra._lora.files.describe import describe_files  # not needed for presets

    strategy = describe_files(find_files(folder))["strategy"]
    return [entry.owner for entry in catalog(STRATEGIES).claims() if entry.name == strategy]


def _has_same_bytes(folder: PresetFolder, before: LockedPreset) -> bool:
    """Says whether a preset with another handle, such as a mirror's, has the digests of the locked one."""
    listed, locked = (
        {file.name: sha256_of(file) for file in files if not is_hidden(file.name)}
        for files in (folder.files, before.files)
    )
    return listed == locked


def _listed_files(folder: PresetFolder, before: LockedPreset) -> tuple[PresetFile, ...]:
    """Returns the files of a preset as its source lists them; missing digests are taken from the lockfile."""
    locked = {file.name: file.digest for file in before.files}
    files = []
    for file in sorted(folder.files, key=lambda file: file.name):
        expected = sha256_of(file)
        digest = f"sha256:{expected}" if expected else locked.get(file.name)
        files.append(PresetFile(file.name, file.size, None, digest))
    return tuple(files)


def _plugin_versions() -> dict[str, str]:
    return {p.owner.distribution: p.owner.version for p in registry().plugins if p.status == "loaded"}


def _verify(requested: str, preset: LockedPreset) -> VerifiedPreset:
    handle = None if preset.handle is None else str(preset.handle)
    size = sum(file.size for file in preset.files)
    verified = VerifiedPreset(requested, handle, size, plugins=differing_plugins(preset))
    local = _local_paths(requested, preset)
    for file in preset.files:
        if local is None:
            checks = _check_cached(preset, file)
        elif file.name in local:
            checks = [difference(file, local[file.name])]
        else:
            checks = ["it is missing from the folder"] if local else []
        problems = [problem for problem in checks if problem]
        if problems:
            verified.different[file.name] = problems[0]
        elif checks:
            verified.right.append(file.name)
        else:
            verified.missing.append(file.name)
    return verified


def _local_paths(requested: str, preset: LockedPreset) -> dict[str, Path] | None:
    """Returns the paths of the files in a local source, empty if the preset is gone; None for a remote source."""
    try:
        handle = preset.handle or candidate_handles(requested)[0]
        source = open_source(source_of(handle, requested))
        if not isinstance(source, LocalSource):
            return None
        return {file.name: file.path for file in source.files(handle) if file.path is not None} or None
    except (PresetNotFoundError, UnknownNameError):
        return None if preset.handle else {}


def _check_cached(preset: LockedPreset, file: PresetFile) -> list[str | None]:
    """Returns, for each cached copy of a file, its problem, or None if it matches the lockfile."""
    cache, sha256 = default_store(), sha256_of(file)
    paths = [blob_path(root, str(sha256)) for root in cache.folders()]
    checks = [corruption_of(path, str(sha256), file.size) for path in paths if path.is_symlink() or path.exists()]
    record = None if preset.handle is None else cache.record(preset.handle, file.name)
    if record is not None and record.sha256 != sha256:
        checks.append(f"the cached file has other bytes: its sha256 is {record.sha256}, expected {sha256}")
    return checks
