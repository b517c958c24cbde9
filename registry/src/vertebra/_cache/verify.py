"""Checking a cache folder: whether each content hashes to its name, and each note says what is there."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vertebra._cache.digest import digest_of
from vertebra._cache.layout import file_path, is_hexadecimal, sha256_of
from vertebra._cache.manifest import Record
from vertebra._cache.revisions import IsRevision
from vertebra._cache.scan import CacheScan, scan_cache, size_of
from vertebra._cache.store import Store
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

Advance = Callable[[int, int], None]
"""Is told the bytes that were hashed, and all that there are."""


@dataclass(frozen=True, slots=True)
class CorruptEntry:
    """Something in a cache that is not what it should be."""

    place: Path
    """The cache folder."""
    path: Path
    problem: str
    preset: PresetHandle | None = None
    """One that it belongs to, if that is known."""
    name: str | None = None
    """The file of the preset."""
    others: int = 0
    """How many other presets it belongs to."""
    repaired: bool = False
    """Whether it was removed, so that it is fetched again when it is next needed."""


def check_store(
    store: Store, repair: bool = False, advance: Advance | None = None, is_misnamed: IsRevision | None = None
) -> tuple[list[CorruptEntry], int]:
    """Hashes every content and compares every note with what is there.

    Args:
        store: The cache. What is damaged in its tiers is reported and left alone.
        repair: Whether what is damaged is removed.
        advance: Is told how far it is.
        is_misnamed: Tells whether a pinned handle is of another preset than the handle that is noted to mean it; None
            leaves that out.

    Returns:
        What is damaged, and the bytes that were hashed.
    """
    scans = [scan_cache(root) for root in store.folders()]
    there = {sha256 for scan in scans for sha256 in scan.blobs}
    total = sum(size_of([*scan.blobs.values()]) for scan in scans)
    found: list[CorruptEntry] = []
    done = 0
    for scan in scans:
        sound: set[str] = set()
        for sha256, entry in _check_blobs(scan):
            done += size_of([scan.blobs[sha256]])
            found += [entry] if entry else []
            sound |= set() if entry else {sha256}
            if advance is not None:
                advance(done, total)
        found += _check_entries(scan, there, {sha256: scan.blobs[sha256] for sha256 in sound})
        found += _check_refs(scan, is_misnamed) if is_misnamed else ()
    if repair:
        found = [replace(entry, repaired=entry.place == store.root and _repair(entry)) for entry in found]
        _forget_removed(store)
    return found, done


def corruption_of(path: Path, sha256: str, size: int | None) -> str | None:
    """Returns how what stands at a path differs from a content, or None if it does not."""
    try:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            return "it is a folder, a link or a device, and should be a file"
        if size is not None and facts.st_size != size:
            return f"it has {facts.st_size:,} bytes, expected {size:,}"
        found = digest_of(path).sha256()
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None if found == sha256 else f"its content has changed: its sha256 is {found}, expected {sha256}"


def _check_blobs(scan: CacheScan) -> Iterator[tuple[str, CorruptEntry | None]]:
    """Hashes what stands where contents should."""
    owners: dict[str, list[tuple[PresetHandle | None, str | None, int | None]]] = {}
    for preset in scan.presets.values():
        for name, sha256, size in preset.wanted():
            owners.setdefault(sha256, []).append((preset.handle, name, size))
    for sha256, path in scan.blobs.items():
        (handle, file, expected), *others = owners.get(sha256, [(None, None, None)])
        count = len({other for other, *_ in others} - {handle})
        problem = corruption_of(path, sha256, expected)
        yield sha256, CorruptEntry(scan.root, path, problem, handle, file, count) if problem else None


def _check_entries(scan: CacheScan, there: set[str], sound: Mapping[str, Path]) -> Iterator[CorruptEntry]:
    """Compares what is noted of presets' files with their lists, and with what is there."""
    for path in scan.unreadable:
        yield CorruptEntry(scan.root, path, "it does not say what it should, and stands for nothing")
    for preset in scan.presets.values():
        for record in preset.records.values():
            listed = (preset.listed or {}).get(record.name)
            if preset.listed is not None and listed is None:
                problem: str | None = "the preset's list does not have it"
            elif record.sha256 not in there:
                problem = "its content is missing"
            elif listed is not None:
                problem = _digest_mismatch(listed, record, sound.get(record.sha256))
            else:
                problem = None
            if problem:
                path = file_path(scan.root, preset.handle, record.name)
                yield CorruptEntry(scan.root, path, problem, preset.handle, record.name)


def _check_refs(scan: CacheScan, is_misnamed: IsRevision) -> Iterator[CorruptEntry]:
    """Finds notes that would give one preset the name of another."""
    for handle, pinned in scan.refs.items():
        if is_misnamed(pinned, handle):
            problem = f"by it, {handle} is {pinned}, which is another preset"
            yield CorruptEntry(scan.root, scan.ref_notes[handle], problem)


def _digest_mismatch(listed: PresetFile, record: Record, blob: Path | None) -> str | None:
    """Returns how a content differs from what the source has listed; None, too, for one that is damaged itself."""
    if listed.size != record.size:
        return f"it is noted with {record.size:,} bytes, and listed with {listed.size:,}"
    expected = sha256_of(listed)
    if expected is not None:
        return (
            None if expected == record.sha256 else f"its sha256 is noted as {record.sha256}, and listed as {expected}"
        )
    return digest_of(blob, listed.digest, listed.size).mismatch() if blob and listed.digest else None


def _forget_removed(store: Store) -> None:
    """Removes the notes of contents that were removed."""
    own = scan_cache(store.root)  # before contents are looked at: whoever fetches writes notes after contents
    there = {sha256 for root in store.folders() for sha256 in scan_cache(root).blobs}
    for entry in _check_entries(own, there, {}):
        _remove(entry.path)


def _repair(entry: CorruptEntry) -> bool:
    """Removes what is damaged; a content that somebody has fetched again meanwhile stays."""
    path = entry.path
    if is_hexadecimal(path.name) and corruption_of(path, path.name, None) is None:
        return True
    return _remove(path)


def _remove(path: Path) -> bool:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
