"""A remote source behind the cache: snapshots, files and ranges, from the store where it has them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from vertebra._cache.default_store import default_store
from vertebra._cache.fetch import fetch_files
from vertebra._cache.retry import retry
from vertebra._cache.revisions import is_revision
from vertebra._cache.stall import StallDetector
from vertebra._cache.store import Store
from vertebra._configuration.settings import settings
from vertebra.errors import (
    CacheError,
    ClientMissingError,
    OfflineError,
    PluginError,
    PresetNotFoundError,
    SourceUnavailableError,
)
from vertebra.handles import PresetHandle
from vertebra.interfaces import LocalSource, PresetSource
from vertebra.remote import RemoteSource, Snapshot
from vertebra.specs import PresetFile

_MOST_ATTEMPTS = 3
"""Attempts to resolve a handle; then the cache's ref is used, if there is one."""

_stale: set[PresetHandle] = set()
"""Handles that were last resolved by the cache, without an answer of their service."""
_listed: dict[PresetHandle, list[PresetFile]] = {}
"""File lists that this process has resolved, also where the cache cannot be written to."""


class CachedSource:
    """A remote source wrapped in the cache.

    Args:
        source: The source.
        store: Where files and file lists are kept; None means the cache that the settings name.
    """

    def __init__(self, source: RemoteSource, store: Store | None = None) -> None:
        self.source = source
        self._store = store

    @property
    def store(self) -> Store:
        """The store that this source reads and fills."""
        return self._store or default_store()

    # === Snapshots ===

    def resolve(self, handle: PresetHandle) -> PresetHandle:
        """Returns the pinned handle that a handle means: now, or, without a network, when it was last resolved.

        Raises:
            OfflineError: the network must not be used, and the handle was never resolved.
            SourceUnavailableError: the service does not answer, and the handle was never resolved.
        """
        if self.source.is_pinned(handle):
            return handle
        if settings().offline:
            last = self._last(handle)
            if last is None:
                raise OfflineError(handle, [])
            _stale.add(handle)
            return last
        try:
            return self._resolve_now(handle).handle
        except SourceUnavailableError as error:
            last = self._last(handle)
            if last is None:
                raise
            _stale.add(handle)
            logging.getLogger("vertebra").warning("%s Using %s, which is what it meant before.", error, last)
            return last

    def files(self, handle: PresetHandle) -> list[PresetFile]:
        """Returns the files of a pinned preset, each with its path if the cache has it.

        Raises:
            OfflineError: the network must not be used, and the cache has no file list of the preset.
        """
        known = self._known(handle)
        if known is not None:
            store = self.store
            return [replace(file, path=store.find(handle, file)) for file in known]
        try:
            if settings().offline:
                raise OfflineError(handle, [])
            return list(self._resolve_now(handle).files)
        except (OfflineError, SourceUnavailableError):
            external = self._external_snapshot(handle)
            if external is None:
                raise
            return list(external.files)

    def lists_all(self, handle: PresetHandle) -> bool:
        """Says whether `files` returns all files of a preset, or only those of another program's cache."""
        return self._known(handle) is not None

    def record(self, handle: PresetHandle, files: Sequence[PresetFile], refs: Sequence[PresetHandle]) -> None:
        """Keeps the file list of a pinned preset, and the handles that mean it, as if they had been resolved."""
        with contextlib.suppress(CacheError):  # a read-only cache
            self.store.put_file_list(handle, files)
            for ref in refs:
                self.store.put_ref(ref, handle)

    def _known(self, handle: PresetHandle) -> list[PresetFile] | None:
        """Returns the file list of a pinned preset that this process or another one has resolved."""
        listed = self.store.file_list(handle)
        return _listed.get(handle) if listed is None else listed

    def _last(self, handle: PresetHandle) -> PresetHandle | None:
        """Returns what a handle meant when it was last resolved, by the cache or by another program."""
        pinned = self.store.ref(handle, partial(is_revision, self.source))
        if pinned is not None:
            return pinned
        external = self._external_snapshot(handle)
        return external.handle if external and is_revision(self.source, external.handle, handle) else None

    def _external_snapshot(self, handle: PresetHandle) -> Snapshot | None:
        with contextlib.suppress(ClientMissingError):  # without its client, no other program has fetched anything
            return self.source.external_snapshot(handle)
        return None

    def _resolve_now(self, handle: PresetHandle) -> Snapshot:
        attempts = count(1)
        found = retry(lambda: self.source.resolve_snapshot(handle), lambda: next(attempts), most=_MOST_ATTEMPTS)
        _listed[found.handle] = list(found.files)
        _stale.discard(handle)
        is_ref = found.handle != handle and is_revision(self.source, found.handle, handle)
        self.record(found.handle, found.files, [handle] if is_ref else [])
        return found

    # === Files ===

    def find(self, handle: PresetHandle, file: PresetFile) -> Path | None:
        """Returns the path of a file of a pinned preset in the cache, or None."""
        return self.store.find(handle, file)

    def find_external(self, handle: PresetHandle, file: PresetFile) -> Path | None:
        """Returns what `find` does, after importing the file from another program's cache; uses no network."""
        with contextlib.suppress(OfflineError):
            return fetch_files(self.store, self.source, handle, [file], offline=True)[0]
        return None

    def fetch(self, handle: PresetHandle, name: str) -> Path:
        """Returns the path of one file of a pinned preset, after downloading it if the cache lacks it.

        Raises:
            PresetNotFoundError: there is no such file.
            VertebraError: as `fetch_all`.
        """
        wanted = [file for file in self.files(handle) if file.name == name]
        if not wanted:
            raise PresetNotFoundError(handle, f"there is no file {name!r} in it")
        return self.fetch_all(handle, wanted)[0]

    def fetch_all(self, handle: PresetHandle, files: Sequence[PresetFile]) -> list[Path]:
        """Returns the paths of files of a pinned preset, after downloading those that the cache lacks.

        Raises:
            OfflineError, IntegrityError, SourceUnavailableError, CacheError: as `fetch_files`.
        """
        return fetch_files(self.store, self.source, handle, files, settings().offline)

    def read_range(self, handle: PresetHandle, file: PresetFile, start: int, stop: int) -> bytes:
        """Returns bytes of a file of a pinned preset, which are neither kept nor compared with its digest.

        Raises:
            OfflineError: the network must not be used.
            SourceUnavailableError: the source failed at each attempt.
        """
        if settings().offline:
            raise OfflineError(handle, [file.name])
        attempts = count(1)
        return retry(lambda: self._read_range(handle, file, start, stop), lambda: next(attempts), most=_MOST_ATTEMPTS)

    def _read_range(self, handle: PresetHandle, file: PresetFile, start: int, stop: int) -> bytes:
        data, stall = bytearray(), StallDetector(handle, file.name)
        if start == stop:
            return b""
        with self.source.read(handle, file, start, stop) as stream:
            skipped = start - stream.start  # a source without ranges sends the file from its beginning
            for chunk in stream.chunks:
                data += chunk
                if len(data) >= skipped + stop - start:
                    return bytes(data[skipped : skipped + stop - start])
                stall.note(len(chunk))
        raise SourceUnavailableError(handle, f"{file.name} was cut short at {stream.start + len(data):,} bytes")


def open_source(source: PresetSource) -> LocalSource | CachedSource:
    """Wraps a remote source in the cache; a local source is read in place.

    Raises:
        PluginError: the source is of neither kind.
    """
    if isinstance(source, RemoteSource):
        return CachedSource(source)
    if isinstance(source, LocalSource):
        return source
    owner = type(source).__module__.partition(".")[0]
    problem = f"its source of {source.scheme}:// is a {type(source).__name__}, which is neither local nor remote"
    raise PluginError(owner, problem, "Derive it from vertebra.LocalSource or vertebra.RemoteSource")


def is_current(handle: PresetHandle) -> bool:
    """Says whether `CachedSource.resolve` last returned the service's answer, and not the cache's ref."""
    return handle not in _stale
