"""Bundles: folders in the cache's layout that carry chosen presets to machines without a network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vertebra._cache.default_store import default_store
from vertebra._cache.ingest import add_file
from vertebra._cache.manifest import read_entry
from vertebra._cache.revisions import warn_misnamed
from vertebra._cache.scan import CachedPreset, CacheScan, scan_cache
from vertebra._cache.store import Store
from vertebra._cache.transfer.progress import Advance
from vertebra._resolve.candidates import ask_policies, candidate_handles, is_revision
from vertebra._resolve.filenames import unsafe_names
from vertebra._resolve.open import open_folder
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.atomic_save import destination, replacing_folder
from vertebra._system.strict_json import dump_json
from vertebra.errors import PresetNotFoundError, PresetSaveError, close_names
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

MARKER = "bundle.json"
_OWN_NAMES = {MARKER, "blobs", "presets", "refs", "locks", "partial", "runtimes"}
_VERSION = 1
"""Called with the bytes copied so far and the total bytes."""


@dataclass(frozen=True, slots=True)
class BundledPreset:
    """A preset that was written to a bundle, or read from one."""

    requested: str
    handle: PresetHandle
    files: int
    size: int
    """Total bytes of its files."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Files of the preset that were not bundled, each with the reason."""


def write_bundle(
    presets: Sequence[str],
    path: str | Path,
    locked: bool | None = None,
    advance: Advance | None = None,
    replace: bool = False,
) -> list[BundledPreset]:
    """Fetches presets and writes them to a bundle; the folder appears complete or not at all.

    Args:
        presets: Presets, as passed to `from_preset`.
        path: The folder; an existing bundle is replaced if it holds no other presets.
        locked: Whether the presets must match the lockfile; None means as the user's settings say.
        advance: Called with the progress.
        replace: Whether a bundle that holds other presets may be replaced.

    Raises:
        PresetSaveError: the folder cannot be written, or a preset is a local folder.
        PresetError: a preset cannot be fetched.
    """
    target = destination(path)
    _check_target(target, None if replace else {*presets})
    folders = [open_folder(preset, locked) for preset in dict.fromkeys(presets)]
    for folder in folders:
        folder.require_complete()
        if not folder.source.is_remote:
            problem = f"{folder.requested} is local ({folder.handle}), and bundles hold only presets that are fetched"
            raise PresetSaveError(target, problem, "Leave it out, and copy its folder")
    paths = [folder.fetch_all([file.name for file in folder.files]) for folder in folders]
    total = sum(file.size for folder in folders for file in folder.files)
    _check_space(target, total)
    count = _counter(total, advance)
    with replacing_folder(target) as stage:
        bundle = Store(stage)
        for folder, local_paths in zip(folders, paths, strict=True):
            _add_preset(bundle, folder, local_paths, count)
        shutil.rmtree(stage / "partial", ignore_errors=True)
        named = {folder.requested: str(folder.handle) for folder in folders}
        (stage / MARKER).write_bytes(dump_json({"version": _VERSION, "presets": named}))
    return [
        BundledPreset(f.requested, f.handle, len(f.files), sum(file.size for file in f.files), f.left_out)
        for f in folders
    ]


def read_bundle(presets: Sequence[str], path: Path, advance: Advance | None = None) -> list[BundledPreset]:
    """Copies presets from a bundle into the cache; uses no network and no source.

    Args:
        presets: Presets, as passed to `from_preset`; empty means all presets of the bundle.
        path: The bundle.
        advance: Called with the progress.

    Raises:
        PresetNotFoundError: the bundle lacks one of the presets, or one of its files.
        IntegrityError: a file of the bundle is damaged.
        CacheError: the cache cannot be written.
    """
    scan = scan_cache(path, follow=True)
    if not scan.presets:
        problem = "the folder is not a bundle: it holds no presets" if path.is_dir() else "there is no such folder"
        raise PresetNotFoundError(path, problem, remedy="Create a bundle with: vertebra bundle PRESET... -o DIR")
    scan.refs = _sound_refs(scan)
    wanted = {requested: _find_cached(scan, requested) for requested in dict.fromkeys(presets)} or _all_cached(scan)
    total = sum(size for preset in wanted.values() for _, _, size in preset.blobs())
    cache, count = default_store(), _counter(total, advance)
    done = []
    for requested, preset in wanted.items():
        files = _complete_files(scan, preset)
        for file, source, sha256 in files:
            add_file(cache, preset.handle, file, source, sha256, count)
        cache.put_file_list(preset.handle, [file for file, _, _ in files])
        for handle, pinned in scan.refs.items():
            if pinned == preset.handle:
                cache.put_ref(handle, pinned)
        size = sum(file.size for file, _, _ in files)
        done.append(BundledPreset(requested, preset.handle, len(files), size))
    return done


# === Writing ===


def _check_target(target: Path, kept: set[str] | None) -> None:
    if target.exists() and not target.is_dir():
        raise PresetSaveError(target, "it is a file, and a bundle is a folder", "Choose another path")
    marker = read_entry(target / MARKER) or {}
    names = {path.name for path in target.iterdir()} if target.is_dir() else set()
    if names and ("version" not in marker or names - _OWN_NAMES):
        problem = f"the folder is not a bundle: it holds other files, such as {min(names - _OWN_NAMES or names)!r}"
        raise PresetSaveError(target, problem, "Choose a new or empty folder")
    others = [] if kept is None else sorted(set(marker.get("presets") or ()) - kept)
    if others:
        problem = f"it is a bundle that also holds other presets: {', '.join(others[:5])}"
        raise PresetSaveError(target, problem, "Name these presets as well, choose another folder, or give --replace")


def _check_space(target: Path, needed: int) -> None:
    parent = next(folder for folder in target.parents if folder.is_dir())
    free = shutil.disk_usage(parent).free
    if free < needed:
        problem = f"its disk has {free:,} free bytes, and the bundle needs {needed:,}"
        raise PresetSaveError(target, problem, "Free some space, or choose a folder on another disk")


def _add_preset(bundle: Store, folder: PresetFolder, paths: Sequence[Path], count: Callable[[int], None]) -> None:
    cache = default_store()
    for file, path in zip(folder.files, paths, strict=True):
        known = cache.record(folder.handle, file.name)
        add_file(bundle, folder.handle, file, path, known.sha256 if known else None, count)
    bundle.put_file_list(folder.handle, folder.files)
    for handle in folder.unpinned():
        bundle.put_ref(handle, folder.handle)


# === Reading ===


def _sound_refs(scan: CacheScan) -> dict[PresetHandle, PresetHandle]:
    """Returns the refs of a bundle, without those that would give one preset the name of another."""
    sound = {}
    for handle, pinned in scan.refs.items():
        if is_revision(pinned, handle):
            sound[handle] = pinned
        else:
            warn_misnamed("bundle", scan.root, pinned, handle)
    return sound


def _find_cached(scan: CacheScan, requested: str) -> CachedPreset:
    handles = candidate_handles(requested)
    for handle in handles:
        pinned = handle if handle in scan.presets else scan.refs.get(handle)
        if pinned in scan.presets:
            for asked in dict.fromkeys((handle, pinned)):
                ask_policies(asked)
            return scan.presets[pinned]
    known = [str(known) for known in (*scan.presets, *scan.refs)]
    problem = f"it is not in the bundle {scan.root}"
    raise PresetNotFoundError(handles[0], problem, close_names(str(handles[0]), known) or known[:3])


def _all_cached(scan: CacheScan) -> dict[str, CachedPreset]:
    for handle in scan.presets:
        ask_policies(handle)
    return {str(handle): preset for handle, preset in scan.presets.items()}


def _complete_files(scan: CacheScan, preset: CachedPreset) -> list[tuple[PresetFile, Path, str]]:
    """Returns the files of a preset that are not left out, each with its path and SHA-256.

    Raises:
        PresetNotFoundError: the file list or a blob is missing.
    """
    blobs = {name: (scan.blobs.get(sha256), sha256) for name, sha256, _ in preset.blobs()}
    left_out = unsafe_names(list(preset.listed or ()))
    listed = {name: file for name, file in (preset.listed or {}).items() if name not in left_out}
    missing = [name for name in listed if blobs.get(name, (None,))[0] is None] if listed else ["the file list"]
    if missing:
        problem = f"the bundle {scan.root} is incomplete: it lacks {', '.join(missing[:5])}; bundle the preset again"
        raise PresetNotFoundError(preset.handle, problem)
    return [(file, Path(str(blobs[name][0])), blobs[name][1]) for name, file in listed.items()]


def _counter(total: int, advance: Advance | None) -> Callable[[int], None]:
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        if advance is not None:
            advance(done, total)

    return count
