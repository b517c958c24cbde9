"""Tidying a cache folder: what nobody needs any longer, and presets that are to go.

Nothing is taken from whoever is at work: a content that a process has mapped stays readable after its name is gone,
and one that was just moved to its place, and is about to be noted, is younger than what is removed.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vertebra._cache.ownership import is_abandoned
from vertebra._cache.scan import CacheScan, Unpinned, last_used, scan_cache, size_of
from vertebra.errors import PresetNotFoundError, close_names
from vertebra.handles import PresetHandle

MARGIN = 3600.0
"""Seconds for which what no preset refers to may be about to be referred to, and what lies untouched may be at work."""
_DAY = 86_400.0


@dataclass(slots=True)
class PruneReport:
    """What was removed, or would be."""

    presets: list[str] = field(default_factory=list)
    contents: int = 0
    """Contents that no preset has any longer."""
    unfinished: int = 0
    """Downloads that were given up."""
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
    """Removes presets, and what no preset needs.

    Args:
        root: The cache folder.
        presets: Which to remove, with all their revisions if they name none.
        older_than: Days for which a preset that is to go was not used, or None to remove none for that.
        dry_run: Whether to say only what would be removed.
        unpinned: Returns the handle of a preset at whichever revision.

    Raises:
        PresetNotFoundError: one of the presets is not in the cache.
    """
    began = time.time()
    scan = scan_cache(root)
    leaving = list(dict.fromkeys([*_named(scan, presets, unpinned), *_unused(scan, older_than)]))
    done = PruneReport([str(handle) for handle in leaving])
    freed = {sha256 for handle in leaving for _, sha256, _ in scan.presets[handle].wanted()}
    notes = [path for handle in leaving for path in scan.presets[handle].notes]
    notes += [scan.ref_notes[handle] for handle, pinned in scan.refs.items() if pinned in leaving]
    if dry_run:
        for handle in leaving:
            del scan.presets[handle]
    else:
        _remove(notes)
        scan = scan_cache(root)  # others may have been at work meanwhile
    # A content that a preset has just lost goes at once; another one may be about to be noted.
    contents = [path for path in orphans(scan) if path.name in freed or _is_old(path)]
    unfinished = [path for path in scan.unfinished if is_abandoned(path, time.time(), MARGIN)]
    locks = [path for path in (root / "locks").glob("*.lock") if time.time() - _touched(path) > _DAY]
    done.contents, done.unfinished, done.locks = len(contents), len(unfinished), len(locks)
    done.freed = size_of([*contents, *unfinished])
    if not dry_run:
        # Somebody may just have taken it up.
        _remove(path for path in contents if _is_old(path) or (path.name in freed and _touched(path) < began))
        _remove([*unfinished, *locks])
        _remove_empty_folders(root / "presets")
    return done


def orphans(scan: CacheScan) -> list[Path]:
    """Returns the contents that no preset has."""
    referenced = scan.referenced()
    return [path for sha256, path in scan.blobs.items() if sha256 not in referenced]


def _named(scan: CacheScan, presets: Iterable[PresetHandle], unpinned: Unpinned) -> Iterator[PresetHandle]:
    for handle in presets:
        found = scan.matching(handle, unpinned)
        if not found:
            known = [str(known) for known in (*scan.presets, *scan.refs)]
            raise PresetNotFoundError(handle, "it is not in the cache", close_names(str(handle), known))
        yield from found


def _unused(scan: CacheScan, days: float | None) -> Iterator[PresetHandle]:
    for handle, preset in scan.presets.items() if days is not None else ():
        if time.time() - last_used(scan.blobs, preset) > (days or 0) * _DAY:
            yield handle


def _is_old(path: Path) -> bool:
    return time.time() - _touched(path) > MARGIN


def _touched(path: Path) -> float:
    try:
        facts = path.lstat()
    except OSError:
        return time.time()
    return max(facts.st_mtime, facts.st_ctime)  # a rename leaves the first as it was, and sets the second


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _remove_empty_folders(presets: Path) -> None:
    """Whoever fetches makes a folder and then writes into it: young ones stay."""
    for folder in [*presets.glob("*/files"), *presets.glob("*")]:
        if time.time() - _touched(folder) > MARGIN:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
