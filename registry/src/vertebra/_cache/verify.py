"""Checking a cache folder: whether each content hashes to its name, and each note says what is there."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vertebra._cache.digest import digest_of
from vertebra._cache.revisions import IsRevision
from vertebra._cache.scan import Holdings, read_holdings, size_of
from vertebra._cache.store import Record, Store, file_path, is_hexadecimal, sha256_of
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

Advance = Callable[[int, int], None]
"""Is told the bytes that were hashed, and all that there are."""


@dataclass(frozen=True, slots=True)
class Damage:
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
) -> tuple[list[Damage], int]:
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
    places = [read_holdings(place) for place in store.places()]
    there = {sha256 for held in places for sha256 in held.blobs}
    total = sum(size_of([*held.blobs.values()]) for held in places)
    found: list[Damage] = []
    done = 0
    for held in places:
        sound: set[str] = set()
        for sha256, damage in _check_blobs(held):
            done += size_of([held.blobs[sha256]])
            found += [damage] if damage else []
            sound |= set() if damage else {sha256}
            if advance is not None:
                advance(done, total)
        found += _check_notes(held, there, {sha256: held.blobs[sha256] for sha256 in sound})
        found += _check_refs(held, is_misnamed) if is_misnamed else ()
    if repair:
        found = [replace(damage, repaired=damage.place == store.root and _repair(damage)) for damage in found]
        _forget_removed(store)
    return found, done


def damage_of(path: Path, sha256: str, size: int | None) -> str | None:
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


def _check_blobs(held: Holdings) -> Iterator[tuple[str, Damage | None]]:
    """Hashes what stands where contents should."""
    owners: dict[str, list[tuple[PresetHandle | None, str | None, int | None]]] = {}
    for holding in held.presets.values():
        for name, sha256, size in holding.wanted():
            owners.setdefault(sha256, []).append((holding.handle, name, size))
    for sha256, path in held.blobs.items():
        (handle, file, expected), *others = owners.get(sha256, [(None, None, None)])
        count = len({other for other, *_ in others} - {handle})
        problem = damage_of(path, sha256, expected)
        yield sha256, Damage(held.root, path, problem, handle, file, count) if problem else None


def _check_notes(held: Holdings, there: set[str], sound: Mapping[str, Path]) -> Iterator[Damage]:
    """Compares what is noted of presets' files with their lists, and with what is there."""
    for path in held.unreadable:
        yield Damage(held.root, path, "it does not say what it should, and stands for nothing")
    for holding in held.presets.values():
        for record in holding.records.values():
            listed = (holding.listed or {}).get(record.name)
            if holding.listed is not None and listed is None:
                problem: str | None = "the preset's list does not have it"
            elif record.sha256 not in there:
                problem = "its content is missing"
            elif listed is not None:
                problem = _broken_promise(listed, record, sound.get(record.sha256))
            else:
                problem = None
            if problem:
                path = file_path(held.root, holding.handle, record.name)
                yield Damage(held.root, path, problem, holding.handle, record.name)


def _check_refs(held: Holdings, is_misnamed: IsRevision) -> Iterator[Damage]:
    """Finds notes that would give one preset the name of another."""
    for handle, pinned in held.refs.items():
        if is_misnamed(pinned, handle):
            problem = f"by it, {handle} is {pinned}, which is another preset"
            yield Damage(held.root, held.ref_notes[handle], problem)


def _broken_promise(listed: PresetFile, record: Record, blob: Path | None) -> str | None:
    """Returns how a content differs from what the source has listed; None, too, for one that is damaged itself."""
    if listed.size != record.size:
        return f"it is noted with {record.size:,} bytes, and listed with {listed.size:,}"
    promised = sha256_of(listed)
    if promised is not None:
        return (
            None if promised == record.sha256 else f"its sha256 is noted as {record.sha256}, and listed as {promised}"
        )
    return digest_of(blob, listed.digest, listed.size).broken_promise() if blob and listed.digest else None


def _forget_removed(store: Store) -> None:
    """Removes the notes of contents that were removed."""
    own = read_holdings(store.root)  # before contents are looked at: whoever fetches writes notes after contents
    there = {sha256 for place in store.places() for sha256 in read_holdings(place).blobs}
    for damage in _check_notes(own, there, {}):
        _remove(damage.path)


def _repair(damage: Damage) -> bool:
    """Removes what is damaged; a content that somebody has fetched again meanwhile stays."""
    path = damage.path
    if is_hexadecimal(path.name) and damage_of(path, path.name, None) is None:
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
