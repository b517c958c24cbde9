"""Pruning a cache folder: removes blobs that no preset needs, and presets that are to be removed.

Running processes lose nothing: a blob that a process has mapped stays readable after its name is removed, and a blob
whose record is about to be written is younger than the blobs that are removed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vertebra._cache.folders import entries
from vertebra._cache.scan import CacheScan, Unpinned, last_used, scan_cache, size_of
from vertebra._system.log import log
from vertebra._system.ownership import is_abandoned
from vertebra._system.removal import remove_below
from vertebra.errors import PresetNotFoundError, close_names
from vertebra.handles import PresetHandle

MARGIN = 3600.0
"""Age in seconds below which a blob without a preset, or a partial file of another machine, may still be in use."""
_DAY = 86_400.0


@dataclass(slots=True)
class PruneReport:
    """What a prune removed, or would remove."""

    presets: list[str] = field(default_factory=list)
    blobs: int = 0
    """Blobs that no preset refers to."""
    partials: int = 0
    """Abandoned partial downloads."""
    locks: int = 0
    freed: int = 0
    """Bytes."""


def prune(
    root: Path,
    presets: Iterable[PresetHandle] = (),
    older_than: float | None = None,
    dry_run: bool = False,
    unpinned: Unpinned = PresetHandle.without_revision,
) -> PruneReport:
    """Removes presets, and the blobs, partial downloads and locks that no preset or process needs.

    Args:
        root: The cache folder.
        presets: The presets to remove; a handle without a revision means all revisions.
        older_than: Presets that were not used for this many days are removed, too; None means that age does not matter.
        dry_run: Whether only to report what would be removed.
        unpinned: Returns the handle of a preset without a revision.

    Raises:
        PresetNotFoundError: one of the presets is not in the cache.
    """
    began = time.time()
    scan = scan_cache(root)
    for link in scan.links:
        log.warning("%s is a link, and not followed: the folder that it leads to is no part of the cache", link)
    removed = list(dict.fromkeys([*_named(scan, presets, unpinned), *_unused(scan, older_than)]))
    done = PruneReport([str(handle) for handle in removed])
    freed = {sha256 for handle in removed for _, sha256, _ in scan.presets[handle].blobs()}
    notes = [path for handle in removed for path in scan.presets[handle].entries]
    notes += [scan.ref_entries[handle] for handle, pinned in scan.refs.items() if pinned in removed]
    if dry_run:
        for handle in removed:
            del scan.presets[handle]
    else:
        _remove(root, notes)
        scan = scan_cache(root)  # other processes may have changed the cache meanwhile
    # A blob of a removed preset is removed at once; the record of another young blob may be about to be written.
    blobs = [path for path in orphans(scan) if path.name in freed or _is_old(path)]
    partials = [path for path in scan.partials if is_abandoned(path, time.time(), MARGIN)]
    locks = [path for path in entries(root / "locks") if path.suffix == ".lock" and time.time() - _touched(path) > _DAY]
    done.blobs, done.partials, done.locks = len(blobs), len(partials), len(locks)
    done.freed = size_of([*blobs, *partials])
    if not dry_run:
        # Another process may have started to use a blob in this moment.
        _remove(root, (path for path in blobs if _is_old(path) or (path.name in freed and _touched(path) < began)))
        _remove(root, [*partials, *locks])
        _remove_empty_folders(root)
    return done


def orphans(scan: CacheScan) -> list[Path]:
    """Returns the blobs that no preset refers to."""
    referenced = scan.referenced()
    return [path for sha256, path in scan.blobs.items() if sha256 not in referenced]


def _named(scan: CacheScan, presets: Iterable[PresetHandle], unpinned: Unpinned) -> Iterator[PresetHandle]:
    for handle in presets:
        matches = scan.matching(handle, unpinned)
        if not matches:
            known = [str(known) for known in (*scan.presets, *scan.refs)]
            raise PresetNotFoundError(handle, "it is not in the cache", close_names(str(handle), known))
        yield from matches


def _unused(scan: CacheScan, days: float | None) -> Iterator[PresetHandle]:
    for handle, preset in scan.presets.items() if days is not None else ():
        if time.time() - last_used(scan.blobs, preset) > (days or 0) * _DAY:
            yield handle


def _is_old(path: Path) -> bool:
    return time.time() - _touched(path) > MARGIN


def _touched(path: Path) -> float:
    try:
        status = path.lstat()
    except OSError:
        return time.time()
    return max(status.st_mtime, status.st_ctime)  # a rename sets the ctime only


def _remove(root: Path, paths: Iterable[Path]) -> None:
    for path in paths:
        remove_below(root, path)


def _remove_empty_folders(root: Path) -> None:
    """Removes empty folders, except young ones: a process creates a folder before it writes a file into it."""
    presets = [path for path in entries(root / "presets") if not path.is_symlink()]
    for folder in [*(path / "files" for path in presets), *presets]:
        if not folder.is_symlink() and time.time() - _touched(folder) > MARGIN:
            with contextlib.suppress(OSError):  # not there, or not empty
                folder.rmdir()
