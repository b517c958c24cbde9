"""A scan of a cache folder: its presets, refs, blobs and partial downloads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vertebra._cache.folders import entries
from vertebra._cache.layout import file_path, is_hexadecimal, preset_path, ref_path, sha256_of
from vertebra._cache.manifest import Entry, Record, file_list_in, read_entry, record_in, ref_in
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

Unpinned = Callable[[PresetHandle], PresetHandle]
"""Function from the handle of a revision to the handle of the same preset without a revision."""


@dataclass(slots=True)
class CachedPreset:
    """A preset in the cache."""

    handle: PresetHandle
    listed: dict[str, PresetFile] | None = None
    """The preset's files by name, or None if its file list is not cached."""
    records: dict[str, Record] = field(default_factory=dict)
    """The records of the cached files, by name."""
    entries: list[Path] = field(default_factory=list)
    """Paths of the manifest entries of this preset."""

    def blobs(self) -> Iterator[tuple[str, str, int]]:
        """Yields the name, SHA-256 and size of each file whose SHA-256 is known."""
        listed = self.listed or {}
        for name in sorted(listed.keys() | self.records.keys()):
            record = self.records.get(name)
            expected = sha256_of(listed[name]) if name in listed else None
            if expected is not None and (record is None or record.sha256 != expected):
                yield name, expected, listed[name].size
            elif record is not None:
                yield name, record.sha256, record.size


@dataclass(slots=True)
class CacheScan:
    """The state of a cache folder at one moment."""

    root: Path
    presets: dict[PresetHandle, CachedPreset] = field(default_factory=dict)
    refs: dict[PresetHandle, PresetHandle] = field(default_factory=dict)
    """The pinned handle of each unpinned handle."""
    ref_entries: dict[PresetHandle, Path] = field(default_factory=dict)
    blobs: dict[str, Path] = field(default_factory=dict)
    """The blobs by SHA-256; a path may be damaged, or no file at all."""
    partials: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    """Links in place of folders: nothing behind them is a part of the cache."""
    unreadable: list[Path] = field(default_factory=list)
    """Manifest entries that are malformed, or are not at the path that belongs to their handle."""

    def referenced(self) -> set[str]:
        """Returns the SHA-256 of each blob that a preset refers to."""
        return {sha256 for preset in self.presets.values() for _, sha256, _ in preset.blobs()}

    def matching(self, handle: PresetHandle, unpinned: Unpinned) -> list[PresetHandle]:
        """Returns the pinned handles that match a handle: itself, the one that its ref names, and its revisions.

        Args:
            handle: A handle with or without a revision.
            unpinned: Returns the handle of a preset without a revision.
        """
        target = self.refs.get(handle)
        if target is not None and unpinned(target) != unpinned(handle):
            target = None  # a ref to another preset is ignored
        same = [pinned for pinned in self.presets if pinned in (handle, target)]
        revisions = [pinned for pinned in self.presets if unpinned(pinned) == handle]
        return list(dict.fromkeys([*same, *revisions]))


def scan_cache(root: Path, follow: bool = False) -> CacheScan:
    """Scans a cache folder; a missing folder is like an empty one.

    Args:
        root: The cache folder.
        follow: Whether its folders may be links, as in a bundle or a tier, of which nothing is removed.
    """
    scan = CacheScan(root)
    folders = [root / name for name in ("presets", "refs", "blobs", "partial", "locks")]
    blobs = entries(root / "blobs", follow)
    scan.links = [] if follow else [path for path in (*folders, *blobs) if path.is_symlink()]
    for path in _files(root / "presets", follow):
        entry = read_entry(path)
        if path.name == "preset.json":
            _add_file_list(scan, path, entry)
        else:
            _add_record(scan, path, entry)
    for path in _files(root / "refs", follow):
        handle, pinned = _handle(entry := read_entry(path)), ref_in(entry or {})
        if handle is None or pinned is None or path != ref_path(root, handle):
            scan.unreadable.append(path)
        else:
            scan.refs[handle], scan.ref_entries[handle] = pinned, path
    for folder in blobs:
        for path in entries(folder, follow):
            if is_hexadecimal(path.name) and path.name.startswith(folder.name):
                scan.blobs[path.name] = path
    scan.partials = entries(root / "partial", follow)
    return scan


def last_used(blobs: Mapping[str, Path], preset: CachedPreset) -> float:
    """Returns the time when a preset was last read or written, as far as the file system records it."""
    times = [0.0]
    for path in [*preset.entries, *(blobs[sha256] for _, sha256, _ in preset.blobs() if sha256 in blobs)]:
        with contextlib.suppress(OSError):
            status = path.lstat()
            times.append(max(status.st_mtime, status.st_ctime, status.st_atime if path.name in blobs else 0.0))
    return max(times)


def size_of(paths: Sequence[Path]) -> int:
    """Returns the bytes of some files; a file that is gone counts as empty."""
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def _add_file_list(scan: CacheScan, path: Path, entry: Entry | None) -> None:
    handle, listed = _handle(entry), file_list_in(entry or {})
    if handle is None or listed is None or path != preset_path(scan.root, handle):
        scan.unreadable.append(path)
        return
    preset = scan.presets.setdefault(handle, CachedPreset(handle))
    preset.listed = {file.name: file for file in listed}
    preset.entries.append(path)


def _add_record(scan: CacheScan, path: Path, entry: Entry | None) -> None:
    handle, record = _handle(entry), record_in(entry or {})
    if handle is None or record is None or path != file_path(scan.root, handle, record.name):
        scan.unreadable.append(path)
        return
    preset = scan.presets.setdefault(handle, CachedPreset(handle))
    preset.records[record.name] = record
    preset.entries.append(path)


def _handle(entry: Entry | None) -> PresetHandle | None:
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        return PresetHandle.parse((entry or {})["handle"])
    return None


def _files(folder: Path, follow: bool = False) -> Iterator[Path]:
    """Yields the manifest entries below a folder."""
    for path in entries(folder, follow):
        if path.suffix == ".json":
            yield path
        elif path.is_dir() and not path.is_symlink():
            yield from _files(path)
