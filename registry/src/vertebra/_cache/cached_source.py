"""Presets of remote sources: what a handle means, which files it has, and where they stand here."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from vertebra._cache.default_store import store
from vertebra._cache.fetch import fetch_files
from vertebra._cache.retry import retrying
from vertebra._cache.revisions import is_revision
from vertebra._cache.stall import Pace
from vertebra._cache.store import Store
from vertebra._configuration.settings import settings
from vertebra.errors import CacheError, ClientMissingError, OfflineError, SourceUnavailableError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

if TYPE_CHECKING:
    from vertebra.remote import RemoteSource, Snapshot

_MOST_LOOK_UPS = 3
"""Attempts; then what was known before is used, if anything was."""

_unanswered: set[PresetHandle] = set()
"""Handles that were last resolved without asking anybody."""
_listed: dict[PresetHandle, list[PresetFile]] = {}
"""What this process has looked up, also where the cache cannot be written to."""


def resolve(source: RemoteSource, handle: PresetHandle) -> PresetHandle:
    """Returns the pinned handle that a handle means: now, or, without a network, when it was last looked up.

    Raises:
        OfflineError: the network must not be used, and the handle was never looked up.
        SourceUnavailableError: the same where it cannot be used.
    """
    if source.is_pinned(handle):
        return handle
    cache = store()
    if settings().offline:
        last = _last(cache, source, handle)
        if last is None:
            raise OfflineError(handle, [])
        _unanswered.add(handle)
        return last
    try:
        return _look_up(cache, source, handle).handle
    except SourceUnavailableError as error:
        last = _last(cache, source, handle)
        if last is None:
            raise
        _unanswered.add(handle)
        logging.getLogger("vertebra").warning("%s Using %s, which is what it meant before.", error, last)
        return last


def is_current(handle: PresetHandle) -> bool:
    """Says whether what `resolve` has returned last is what the handle means now, and not what it meant before."""
    return handle not in _unanswered


def files(source: RemoteSource, handle: PresetHandle) -> list[PresetFile]:
    """Returns the files of a pinned preset, each with its path if it is here; asks nobody if that is known.

    Raises:
        OfflineError: the network must not be used, and the files are not known.
    """
    cache = store()
    known = _known(cache, handle)
    if known is not None:
        return [replace(file, path=cache.find(handle, file)) for file in known]
    try:
        if settings().offline:
            raise OfflineError(handle, [])
        return list(_look_up(cache, source, handle).files)
    except (OfflineError, SourceUnavailableError):
        remembered = _remembered(source, handle)
        if remembered is None:
            raise
        return list(remembered.files)


def lists_all(handle: PresetHandle) -> bool:
    """Says whether what `files` returns is all that the preset has, or only what another program has of it."""
    return _known(store(), handle) is not None


def _known(cache: Store, handle: PresetHandle) -> list[PresetFile] | None:
    """Returns what was looked up of a pinned preset, by this process or another one."""
    listed = cache.listed(handle)
    return _listed.get(handle) if listed is None else listed


def fetch(source: RemoteSource, handle: PresetHandle, wanted: Sequence[PresetFile]) -> list[Path]:
    """Returns where files of a pinned preset stand, after fetching those that are not here."""
    return fetch_files(store(), source, handle, wanted, settings().offline)


def read_part(source: RemoteSource, handle: PresetHandle, file: PresetFile, start: int, stop: int) -> bytes:
    """Returns bytes of a file of a pinned preset, without keeping them.

    Raises:
        OfflineError: the network must not be used.
        SourceUnavailableError: the source failed again and again.
    """
    if settings().offline:
        raise OfflineError(handle, [file.name])
    attempts = count(1)
    return retrying(lambda: _read_part(source, handle, file, start, stop), lambda: next(attempts), most=_MOST_LOOK_UPS)


def _read_part(source: RemoteSource, handle: PresetHandle, file: PresetFile, start: int, stop: int) -> bytes:
    data, pace = bytearray(), Pace(handle, file.name)
    if start == stop:
        return b""
    with source.read(handle, file, start, stop) as content:
        skipped = start - content.start  # who has no ranges sends the whole file, and is left when there is enough
        for chunk in content.chunks:
            data += chunk
            if len(data) >= skipped + stop - start:
                return bytes(data[skipped : skipped + stop - start])
            pace.note(len(chunk))
    raise SourceUnavailableError(handle, f"{file.name} was cut short at {content.start + len(data):,} bytes")


def _last(cache: Store, source: RemoteSource, handle: PresetHandle) -> PresetHandle | None:
    """Returns what a handle meant when it was last looked up, here or by another program."""
    pinned = cache.pinned(handle, partial(is_revision, source))
    if pinned is not None:
        return pinned
    remembered = _remembered(source, handle)
    return remembered.handle if remembered and is_revision(source, remembered.handle, handle) else None


def _remembered(source: RemoteSource, handle: PresetHandle) -> Snapshot | None:
    with contextlib.suppress(ClientMissingError):  # then it has fetched nothing
        return source.remembered(handle)
    return None


def _look_up(cache: Store, source: RemoteSource, handle: PresetHandle) -> Snapshot:
    attempts = count(1)
    found = retrying(lambda: source.look_up(handle), lambda: next(attempts), most=_MOST_LOOK_UPS)
    _listed[found.handle] = list(found.files)
    _unanswered.discard(handle)
    with contextlib.suppress(CacheError):  # a cache that is only read serves what it has
        cache.put_listing(found.handle, found.files)
        if found.handle != handle and is_revision(source, found.handle, handle):
            cache.put_pinned(handle, found.handle)
    return found
