"""Verifying a cache folder: each blob against its SHA-256, each manifest entry against the file list and the blob."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vertebra._cache.digest import digest_of
from vertebra._cache.layout import file_path, is_hexadecimal, sha256_of
from vertebra._cache.manifest import Record
from vertebra._cache.revisions import IsRevision
from vertebra._cache.scan import CacheScan, scan_cache, size_of
from vertebra._cache.store import Store
from vertebra._cache.transfer.progress import Advance
from vertebra._system.removal import remove_below
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

"""Callback with the number of bytes that were hashed, and the number of all bytes."""


@dataclass(frozen=True, slots=True)
class CorruptEntry:
    """A damaged or inconsistent file in a cache folder."""

    root: Path
    """The cache folder."""
    path: Path
    problem: str
    preset: PresetHandle | None = None
    """A preset that the file belongs to, or None if unknown."""
    name: str | None = None
    """Name of the file in the preset."""
    others: int = 0
    """Number of other presets that the file belongs to."""
    repaired: bool = False
    """Whether the file was removed, so that it is fetched again when it is next needed."""


def verify_store(
    store: Store, repair: bool = False, advance: Advance | None = None, is_misnamed: IsRevision | None = None
) -> tuple[list[CorruptEntry], int]:
    """Hashes every blob, and compares every manifest entry with its file list and blob.

    Args:
        store: The cache. Damaged files in its tiers are reported, but not removed.
        repair: Whether damaged files are removed.
        advance: Callback for progress.
        is_misnamed: Returns whether a pinned handle is of another preset than the handle whose ref names it; None
            skips this check.

    Returns:
        The damaged files, and the number of bytes that were hashed.
    """
    scans = [scan_cache(root, follow=root != store.root) for root in store.folders()]
    available = {sha256 for scan in scans for sha256 in scan.blobs}
    total = sum(size_of([*scan.blobs.values()]) for scan in scans)
    corrupt: list[CorruptEntry] = []
    done = 0
    for scan in scans:
        sound: set[str] = set()
        for sha256, entry in _check_blobs(scan):
            done += size_of([scan.blobs[sha256]])
            corrupt += [entry] if entry else []
            sound |= set() if entry else {sha256}
            if advance is not None:
                advance(done, total)
        corrupt += _check_entries(scan, available, {sha256: scan.blobs[sha256] for sha256 in sound})
        corrupt += _check_refs(scan, is_misnamed) if is_misnamed else ()
    if repair:
        corrupt = [replace(entry, repaired=entry.root == store.root and _repair(entry)) for entry in corrupt]
        _forget_removed(store)
    return corrupt, done


def corruption_of(path: Path, sha256: str, size: int | None) -> str | None:
    """Returns how the file at a path differs from the blob that should be there, or None if it does not."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return "it is a folder, a link or a device, expected a file"
        if size is not None and status.st_size != size:
            return f"it has {status.st_size:,} bytes, expected {size:,}"
        actual = digest_of(path).sha256()
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None if actual == sha256 else f"its bytes have changed: its sha256 is {actual}, expected {sha256}"


def _check_blobs(scan: CacheScan) -> Iterator[tuple[str, CorruptEntry | None]]:
    """Hashes every blob; yields its SHA-256, and the damage if there is any."""
    owners: dict[str, list[tuple[PresetHandle | None, str | None, int | None]]] = {}
    for preset in scan.presets.values():
        for name, sha256, size in preset.blobs():
            owners.setdefault(sha256, []).append((preset.handle, name, size))
    for sha256, path in scan.blobs.items():
        (handle, file, expected), *others = owners.get(sha256, [(None, None, None)])
        count = len({other for other, *_ in others} - {handle})
        problem = corruption_of(path, sha256, expected)
        yield sha256, CorruptEntry(scan.root, path, problem, handle, file, count) if problem else None


def _check_entries(scan: CacheScan, available: set[str], sound: Mapping[str, Path]) -> Iterator[CorruptEntry]:
    """Compares the records of files with the file lists, and with the blobs that are present."""
    for path in scan.links:
        yield CorruptEntry(scan.root, path, "it is a link, where the cache has a folder; it is not followed")
    for path in scan.unreadable:
        yield CorruptEntry(scan.root, path, "it is malformed, or its name does not belong to its handle")
    for preset in scan.presets.values():
        for record in preset.records.values():
            listed = (preset.listed or {}).get(record.name)
            if preset.listed is not None and listed is None:
                problem: str | None = "the preset's file list does not have the file"
            elif record.sha256 not in available:
                problem = "its blob is missing"
            elif listed is not None:
                problem = _digest_mismatch(listed, record, sound.get(record.sha256))
            else:
                problem = None
            if problem:
                path = file_path(scan.root, preset.handle, record.name)
                yield CorruptEntry(scan.root, path, problem, preset.handle, record.name)


def _check_refs(scan: CacheScan, is_misnamed: IsRevision) -> Iterator[CorruptEntry]:
    """Finds refs that would give one preset the name of another."""
    for handle, pinned in scan.refs.items():
        if is_misnamed(pinned, handle):
            problem = f"it maps {handle} to {pinned}, which is another preset"
            yield CorruptEntry(scan.root, scan.ref_entries[handle], problem)


def _digest_mismatch(listed: PresetFile, record: Record, blob: Path | None) -> str | None:
    """Returns how a record differs from the source's file list, or None; `_check_blobs` reports damaged blobs."""
    if listed.size != record.size:
        return f"its record has {record.size:,} bytes, but the file list has {listed.size:,}"
    expected = sha256_of(listed)
    if expected is not None:
        return (
            None
            if expected == record.sha256
            else f"its record has the sha256 {record.sha256}, but the file list has {expected}"
        )
    return digest_of(blob, listed.digest, listed.size).mismatch() if blob and listed.digest else None


def _forget_removed(store: Store) -> None:
    """Removes the records of blobs that were removed."""
    own = scan_cache(store.root)  # before the scan of blobs: processes write a record after its blob
    folders = [(root, root != store.root) for root in store.folders()]
    available = {sha256 for root, follow in folders for sha256 in scan_cache(root, follow).blobs}
    for entry in _check_entries(own, available, {}):
        remove_below(store.root, entry.path)


def _repair(entry: CorruptEntry) -> bool:
    """Removes a damaged file, unless another process has replaced it by a sound one; returns whether it is repaired."""
    path = entry.path
    if is_hexadecimal(path.name) and corruption_of(path, path.name, None) is None:
        return True
    return remove_below(entry.root, path)
