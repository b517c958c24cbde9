"""Locking: what presets are now, written into a lockfile; whether they still are; and whether what is here is that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vertebra._cache.cached_source import is_current, open_source
from vertebra._cache.default_store import default_store
from vertebra._cache.layout import blob_path, sha256_of
from vertebra._cache.verify import corruption_of
from vertebra._discovery.plugins import registry
from vertebra._resolve.candidates import candidate_handles, is_plain_path, source_of
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.lockfile import LockedPreset, Lockfile, difference, locked_files, read_lockfile, write_lockfile
from vertebra._resolve.open import open_folder
from vertebra._resolve.preset_folder import PresetFolder
from vertebra.errors import LockError, OfflineError, PresetNotFoundError, SourceUnavailableError, UnknownNameError
from vertebra.interfaces import LocalSource
from vertebra.specs import PresetFile


@dataclass(frozen=True, slots=True)
class LockStatus:
    """What became of a preset in the lockfile, or what it is compared with it."""

    requested: str
    state: str
    """`added`, `updated`, `unchanged`, `kept` (not looked at), `removed`; compared only, `moved`, `changed`; and where
    it is no longer to be found, `gone`, or nobody has said what it is now, `unknown`."""
    preset: LockedPreset
    before: LockedPreset | None = None
    """What the lockfile had."""


@dataclass(slots=True)
class VerifiedPreset:
    """How what is on this machine compares with a preset of the lockfile."""

    requested: str
    handle: str | None
    size: int
    """Bytes of all its files."""
    right: list[str] = field(default_factory=list)
    """Files that are here, with the content that they should have."""
    missing: list[str] = field(default_factory=list)
    different: dict[str, str] = field(default_factory=dict)
    """How the others differ."""


def lock_presets(presets: Sequence[str], path: Path, update: bool, remove: bool = False) -> list[LockStatus]:
    """Writes presets into a lockfile, beside those that are in it.

    Args:
        presets: What is passed to `from_preset`; with `update`, none means all that are in it.
        path: The lockfile, which need not be there.
        update: Whether those that are in it are locked as they are now; else they stay as they are.
        remove: Whether they are taken out of it instead.

    Raises:
        LockError: the lockfile is unsound, or does not have what is to be removed.
        PresetError: a preset cannot be found, or fetched, which is needed where its source promises no SHA-256.
    """
    lockfile = read_lockfile(path) if path.exists() or remove or not presets else Lockfile()
    known = dict(lockfile.presets)
    done: list[LockStatus] = []
    for requested in dict.fromkeys(presets or (known if update else ())):
        before = known.get(requested)
        if remove:
            if before is None:
                raise LockError(
                    path, f"it does not have {requested!r}", "Check the spelling: it is the text to load by"
                )
            done.append(LockStatus(requested, "removed", known.pop(requested), before))
        elif before is not None and not update:
            done.append(LockStatus(requested, "kept", before, before))
        elif before is None:
            known[requested] = read_consistently(requested, _as_it_is, locked=False)
            done.append(LockStatus(requested, "added", known[requested]))
        else:
            done.append(_updated(requested, before))
            known[requested] = done[-1].preset
    plugins = _plugin_versions()
    if known != lockfile.presets or (update and plugins != lockfile.plugins):
        write_lockfile(path, Lockfile(known, plugins))
    return done


def compare_lock(path: Path) -> Iterator[LockStatus]:
    """Says of each preset in a lockfile whether its text still means what is locked; changes nothing.

    Raises:
        LockError: the lockfile is missing or unsound.
        PresetError: a preset cannot be found.
    """
    for requested, before in read_lockfile(path).presets.items():
        found = _found_now(requested, before)
        yield found if isinstance(found, LockStatus) else _compared(found, before)


def _found_now(requested: str, before: LockedPreset) -> PresetFolder | LockStatus:
    """Finds what a text means now; if nobody says so, what is locked stays as it is."""
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


def _updated(requested: str, before: LockedPreset) -> LockStatus:
    found = _found_now(requested, before)
    if isinstance(found, LockStatus):
        return found
    preset = _as_it_is(found)
    return LockStatus(requested, "unchanged" if before == preset else "updated", preset, before)


def _compared(folder: PresetFolder, before: LockedPreset) -> LockStatus:
    if before.handle not in (None, folder.handle) and not _has_same_bytes(folder, before):
        return LockStatus(folder.requested, "moved", replace(before, handle=folder.handle), before)
    preset = LockedPreset(before.handle, _as_listed(folder, before)) if _is_pinned(folder) else _as_it_is(folder)
    return LockStatus(folder.requested, "unchanged" if preset == before else "changed", preset, before)


def verify_lock(path: Path) -> tuple[list[VerifiedPreset], dict[str, tuple[str, str | None]]]:
    """Hashes all that is on this machine of the presets in a lockfile; uses no network.

    Returns:
        What each preset is here; and the plugins of which another version is installed, with the version that the
        lockfile names and the one that is here.

    Raises:
        LockError: the lockfile is missing or unsound.
    """
    lockfile = read_lockfile(path)
    here = _plugin_versions()
    others = {name: (then, here.get(name)) for name, then in lockfile.plugins.items() if here.get(name) != then}
    return [_verdict(requested, preset) for requested, preset in lockfile.presets.items()], others


def _is_pinned(folder: PresetFolder) -> bool:
    """Says whether the handle of a folder means the same for ever."""
    return folder.source.is_pinned(folder.handle)


def _as_it_is(folder: PresetFolder) -> LockedPreset:
    """Returns what a preset is now; files of which the source does not promise the SHA-256 are fetched and hashed.

    Raises:
        PresetChangedError: it was replaced while its files were hashed.
    """
    folder.require_complete()
    unknown = [file for file in folder.files if sha256_of(file) is None]
    hashed = locked_files(unknown, folder.fetch_all([file.name for file in unknown])) if unknown else ()
    folder.check_all()
    known = [
        PresetFile(file.name, file.size, None, f"sha256:{sha256_of(file)}") for file in folder.files if sha256_of(file)
    ]
    files = tuple(sorted([*known, *hashed], key=lambda file: file.name))
    return LockedPreset(None if is_plain_path(folder.requested) else folder.handle, files)


def _has_same_bytes(folder: PresetFolder, before: LockedPreset) -> bool:
    """Says whether a preset that is elsewhere now, as behind a mirror, is promised to be what is locked."""
    there, locked = ({file.name: sha256_of(file) for file in files} for files in (folder.files, before.files))
    return there == locked


def _as_listed(folder: PresetFolder, before: LockedPreset) -> tuple[PresetFile, ...]:
    """Returns the files of a preset as its source lists them, with hashes from the lockfile where it promises none."""
    locked = {file.name: file.digest for file in before.files}
    files = []
    for file in sorted(folder.files, key=lambda file: file.name):
        expected = sha256_of(file)
        digest = f"sha256:{expected}" if expected else locked.get(file.name)
        files.append(PresetFile(file.name, file.size, None, digest))
    return tuple(files)


def _plugin_versions() -> dict[str, str]:
    return {p.owner.distribution: p.owner.version for p in registry().plugins if p.status == "loaded"}


def _verdict(requested: str, preset: LockedPreset) -> VerifiedPreset:
    handle = None if preset.handle is None else str(preset.handle)
    verdict = VerifiedPreset(requested, handle, sum(file.size for file in preset.files))
    own = _own_places(requested, preset)
    for file in preset.files:
        if own is None:
            found = _in_cache(preset, file)
        elif file.name in own:
            found = [difference(file, own[file.name])]
        else:
            found = ["it is missing from the folder"] if own else []
        problems = [problem for problem in found if problem]
        if problems:
            verdict.different[file.name] = problems[0]
        elif found:
            verdict.right.append(file.name)
        else:
            verdict.missing.append(file.name)
    return verdict


def _own_places(requested: str, preset: LockedPreset) -> dict[str, Path] | None:
    """Returns where a source of this machine has the files: nowhere, perhaps; None if the preset is elsewhere."""
    try:
        handle = preset.handle or candidate_handles(requested)[0]
        source = open_source(source_of(handle, requested))
        if not isinstance(source, LocalSource):
            return None
        return {file.name: file.path for file in source.files(handle) if file.path is not None} or None
    except (PresetNotFoundError, UnknownNameError):
        return None if preset.handle else {}


def _in_cache(preset: LockedPreset, file: PresetFile) -> list[str | None]:
    """Returns, for each cache folder that has a content of a file, how it differs from what it should be."""
    cache, sha256 = default_store(), sha256_of(file)
    paths = [blob_path(place, str(sha256)) for place in cache.folders()]
    found = [corruption_of(path, str(sha256), file.size) for path in paths if path.is_symlink() or path.exists()]
    record = None if preset.handle is None else cache.record(preset.handle, file.name)
    if record is not None and record.sha256 != sha256:
        found.append(f"the cache has it with another content: its sha256 is {record.sha256}, expected {sha256}")
    return found
