"""What a cache folder holds: presets, what handles meant, contents, and what was left unfinished."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vertebra._cache.layout import file_path, is_hexadecimal, preset_path, ref_path, sha256_of
from vertebra._cache.manifest import Entry, Record, file_list_in, read_entry, record_in, ref_in
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

Unpinned = Callable[[PresetHandle], PresetHandle]
"""From the handle of a revision to that of the same preset at whichever revision."""


@dataclass(slots=True)
class CachedPreset:
    """A preset in the cache."""

    handle: PresetHandle
    listed: dict[str, PresetFile] | None = None
    """The files that it has, or None if its list is not here."""
    records: dict[str, Record] = field(default_factory=dict)
    """Which contents those files have that are here."""
    notes: list[Path] = field(default_factory=list)
    """Where all this is written down."""

    def wanted(self) -> Iterator[tuple[str, str, int]]:
        """Yields the name of each file, the SHA-256 of the content it has, as far as that is known, and its size."""
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
    """All that a cache folder holds, as it was when somebody looked."""

    root: Path
    presets: dict[PresetHandle, CachedPreset] = field(default_factory=dict)
    refs: dict[PresetHandle, PresetHandle] = field(default_factory=dict)
    """What unpinned handles meant."""
    ref_notes: dict[PresetHandle, Path] = field(default_factory=dict)
    blobs: dict[str, Path] = field(default_factory=dict)
    """What stands where a content should, whatever it is."""
    unfinished: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    """Notes that say nothing, or stand where nobody looks for them."""

    def referenced(self) -> set[str]:
        """Returns the contents that some preset has."""
        return {sha256 for preset in self.presets.values() for _, sha256, _ in preset.wanted()}

    def matching(self, handle: PresetHandle, unpinned: Unpinned) -> list[PresetHandle]:
        """Returns the presets that a handle means: itself, what it meant, and all revisions of it.

        Args:
            handle: Whichever revision, or just one.
            unpinned: Returns the handle of a preset at whichever revision.
        """
        meant = self.refs.get(handle)
        if meant is not None and unpinned(meant) != unpinned(handle):
            meant = None  # a note by which it is another preset says nothing
        same = [pinned for pinned in self.presets if pinned in (handle, meant)]
        revisions = [pinned for pinned in self.presets if unpinned(pinned) == handle]
        return list(dict.fromkeys([*same, *revisions]))


def scan_cache(root: Path) -> CacheScan:
    """Looks through a cache folder; one that is not there holds nothing."""
    found = CacheScan(root)
    for path in _files(root / "presets"):
        entry = read_entry(path)
        if path.name == "preset.json":
            _take_listing(found, path, entry)
        else:
            _take_record(found, path, entry)
    for path in _files(root / "refs"):
        handle, pinned = _handle(entry := read_entry(path)), ref_in(entry or {})
        if handle is None or pinned is None or path != ref_path(root, handle):
            found.unreadable.append(path)
        else:
            found.refs[handle], found.ref_notes[handle] = pinned, path
    for folder in _entries(root / "blobs"):
        for path in _entries(folder):
            if is_hexadecimal(path.name) and path.name.startswith(folder.name):
                found.blobs[path.name] = path
    found.unfinished = list(_entries(root / "partial"))
    return found


def last_used(blobs: Mapping[str, Path], preset: CachedPreset) -> float:
    """Returns when a preset was last read or written, as far as the file system keeps that."""
    times = [0.0]
    for path in [*preset.notes, *(blobs[sha256] for _, sha256, _ in preset.wanted() if sha256 in blobs)]:
        with contextlib.suppress(OSError):
            facts = path.lstat()
            times.append(max(facts.st_mtime, facts.st_ctime, facts.st_atime if path.name in blobs else 0.0))
    return max(times)


def size_of(paths: Sequence[Path]) -> int:
    """Returns the bytes of some files; what has gone meanwhile has none."""
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def _take_listing(found: CacheScan, path: Path, entry: Entry | None) -> None:
    handle, listed = _handle(entry), file_list_in(entry or {})
    if handle is None or listed is None or path != preset_path(found.root, handle):
        found.unreadable.append(path)
        return
    preset = found.presets.setdefault(handle, CachedPreset(handle))
    preset.listed = {file.name: file for file in listed}
    preset.notes.append(path)


def _take_record(found: CacheScan, path: Path, entry: Entry | None) -> None:
    handle, record = _handle(entry), record_in(entry or {})
    if handle is None or record is None or path != file_path(found.root, handle, record.name):
        found.unreadable.append(path)
        return
    preset = found.presets.setdefault(handle, CachedPreset(handle))
    preset.records[record.name] = record
    preset.notes.append(path)


def _handle(entry: Entry | None) -> PresetHandle | None:
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        return PresetHandle.parse((entry or {})["handle"])
    return None


def _files(folder: Path) -> Iterator[Path]:
    """Yields the notes below a folder."""
    for path in _entries(folder):
        if path.suffix == ".json":
            yield path
        elif path.is_dir() and not path.is_symlink():
            yield from _files(path)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # it is not there, has just gone, or is no folder
        return []
