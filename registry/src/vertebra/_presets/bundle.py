"""Bundles: folders of the cache's layout with just some presets, to be carried to where there is no network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vertebra._cache.default_store import default_store
from vertebra._cache.ingest import add_file
from vertebra._cache.manifest import read_entry
from vertebra._cache.revisions import warn_misnamed
from vertebra._cache.scan import CachedPreset, CacheScan, scan_cache
from vertebra._cache.store import Store
from vertebra._resolve.candidates import ask_policies, candidate_handles, is_revision
from vertebra._resolve.open import open_folder
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.atomic_save import destination, replacing_folder
from vertebra._system.strict_json import dump_json
from vertebra.errors import PresetNotFoundError, PresetSaveError, close_names
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

MARKER = "bundle.json"
_PARTS = {MARKER, "blobs", "presets", "refs", "locks", "partial"}
_VERSION = 1
Advance = Callable[[int, int], None]
"""Is told the bytes that were copied, and all that there are."""


@dataclass(frozen=True, slots=True)
class BundledPreset:
    """A preset that was bundled, or taken out of a bundle."""

    requested: str
    handle: PresetHandle
    files: int
    size: int
    """Bytes of its files."""


def write_bundle(
    presets: Sequence[str],
    path: str | Path,
    locked: bool | None = None,
    advance: Advance | None = None,
    replace: bool = False,
) -> list[BundledPreset]:
    """Writes a folder with complete presets, after fetching what is not here; it appears whole or not at all.

    Args:
        presets: What is passed to `from_preset`.
        path: The folder; a bundle that stands there is made anew if it holds nothing else.
        locked: Whether they must be what the lockfile says; None means as the user's settings say.
        advance: Is told how far it is.
        replace: Whether a bundle that holds other presets may be replaced.

    Raises:
        PresetSaveError: it cannot be written there, or a preset is on this machine anyway.
        PresetError: a preset cannot be fetched.
    """
    target = destination(path)
    _check_target(target, None if replace else {*presets})
    folders = [open_folder(preset, locked) for preset in dict.fromkeys(presets)]
    for folder in folders:
        folder.require_complete()
        if not folder.source.is_remote:
            problem = (
                f"{folder.requested} is read where it stands, at {folder.handle}, and bundles hold what is fetched"
            )
            raise PresetSaveError(target, problem, "Leave it out, and copy its folder")
    paths = [folder.fetch_all([file.name for file in folder.files]) for folder in folders]
    total = sum(file.size for folder in folders for file in folder.files)
    _check_space(target, total)
    count = _counter(total, advance)
    with replacing_folder(target) as stage:
        bundle = Store(stage)
        for folder, places in zip(folders, paths, strict=True):
            _put(bundle, folder, places, count)
        shutil.rmtree(stage / "partial", ignore_errors=True)
        named = {folder.requested: str(folder.handle) for folder in folders}
        (stage / MARKER).write_bytes(dump_json({"version": _VERSION, "presets": named}))
    return [BundledPreset(f.requested, f.handle, len(f.files), sum(file.size for file in f.files)) for f in folders]


def read_bundle(presets: Sequence[str], path: Path, advance: Advance | None = None) -> list[BundledPreset]:
    """Copies presets out of a bundle into the cache; uses no network, and no source.

    Args:
        presets: What is passed to `from_preset`; none means all that the bundle has.
        path: The bundle.
        advance: Is told how far it is.

    Raises:
        PresetNotFoundError: the bundle does not have one of them, or not all of it.
        IntegrityError: what it has is damaged.
        CacheError: the cache cannot take it up.
    """
    scan = scan_cache(path)
    if not scan.presets:
        problem = "the folder is not a bundle: it holds no presets" if path.is_dir() else "there is no such folder"
        raise PresetNotFoundError(path, problem, remedy="Create a bundle with: vertebra bundle PRESET... -o DIR")
    scan.refs = _sound_refs(scan)
    wanted = {requested: _find(scan, requested) for requested in dict.fromkeys(presets)} or _all(scan)
    total = sum(size for preset in wanted.values() for _, _, size in preset.blobs())
    cache, count = default_store(), _counter(total, advance)
    done = []
    for requested, preset in wanted.items():
        contents = _complete(scan, preset)
        for file, source, sha256 in contents:
            add_file(cache, preset.handle, file, source, sha256, count)
        cache.put_file_list(preset.handle, [file for file, _, _ in contents])
        for handle, pinned in scan.refs.items():
            if pinned == preset.handle:
                cache.put_ref(handle, pinned)
        size = sum(file.size for file, _, _ in contents)
        done.append(BundledPreset(requested, preset.handle, len(contents), size))
    return done


# === Writing ===


def _check_target(target: Path, kept: set[str] | None) -> None:
    if target.exists() and not target.is_dir():
        raise PresetSaveError(target, "a file stands there, and a bundle is a folder", "Choose another path")
    note = read_entry(target / MARKER) or {}
    there = {path.name for path in target.iterdir()} if target.is_dir() else set()
    if there and ("version" not in note or there - _PARTS):
        problem = f"the folder holds other things than a bundle, such as {min(there - _PARTS or there)!r}"
        raise PresetSaveError(target, problem, "Choose a new or empty folder")
    others = [] if kept is None else sorted(set(note.get("presets") or ()) - kept)
    if others:
        problem = f"a bundle stands there that holds other presets, too: {', '.join(others[:5])}"
        raise PresetSaveError(target, problem, "Name these as well, choose another folder, or give --replace")


def _check_space(target: Path, needed: int) -> None:
    place = next(folder for folder in target.parents if folder.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed:
        problem = f"{free:,} bytes are free on its disk, and {needed:,} are to be written"
        raise PresetSaveError(target, problem, "Free some space, or choose a folder on another disk")


def _put(bundle: Store, folder: PresetFolder, paths: Sequence[Path], count: Callable[[int], None]) -> None:
    cache = default_store()
    for file, path in zip(folder.files, paths, strict=True):
        known = cache.record(folder.handle, file.name)
        add_file(bundle, folder.handle, file, path, known.sha256 if known else None, count)
    bundle.put_file_list(folder.handle, folder.files)
    for handle in folder.unpinned():
        bundle.put_ref(handle, folder.handle)


# === Reading ===


def _sound_refs(scan: CacheScan) -> dict[PresetHandle, PresetHandle]:
    """Returns what handles mean according to a bundle, without those that it would give the name of another preset."""
    sound = {}
    for handle, pinned in scan.refs.items():
        if is_revision(pinned, handle):
            sound[handle] = pinned
        else:
            warn_misnamed("bundle", scan.root, pinned, handle)
    return sound


def _find(scan: CacheScan, requested: str) -> CachedPreset:
    handles = candidate_handles(requested)
    for handle in handles:
        pinned = handle if handle in scan.presets else scan.refs.get(handle)
        if pinned in scan.presets:
            for asked in dict.fromkeys((handle, pinned)):
                ask_policies(asked)
            return scan.presets[pinned]
    known = [str(known) for known in (*scan.presets, *scan.refs)]
    problem = f"the bundle {scan.root} does not have it"
    raise PresetNotFoundError(handles[0], problem, close_names(str(handles[0]), known) or known[:3])


def _all(scan: CacheScan) -> dict[str, CachedPreset]:
    for handle in scan.presets:
        ask_policies(handle)
    return {str(handle): preset for handle, preset in scan.presets.items()}


def _complete(scan: CacheScan, preset: CachedPreset) -> list[tuple[PresetFile, Path, str]]:
    """Returns the files of a preset, each with its path and SHA-256."""
    found = {name: (scan.blobs.get(sha256), sha256) for name, sha256, _ in preset.blobs()}
    listed = preset.listed or {}
    missing = [name for name in listed if found.get(name, (None,))[0] is None] if listed else ["its list of files"]
    if missing:
        problem = f"the bundle {scan.root} is not complete: it lacks {', '.join(missing[:5])}; bundle it again"
        raise PresetNotFoundError(preset.handle, problem)
    return [(file, Path(str(found[name][0])), found[name][1]) for name, file in listed.items()]


def _counter(total: int, advance: Advance | None) -> Callable[[int], None]:
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        if advance is not None:
            advance(done, total)

    return count
