"""A remote source wrapped in the cache: snapshots, files and ranges come from the store if it has them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from vertebra._cache.default_store import default_store
from vertebra._cache.revisions import is_revision
from vertebra._cache.store import Store
from vertebra._cache.transfer.fetch import fetch_files
from vertebra._cache.transfer.retry import retry
from vertebra._cache.transfer.returned import snapshot_of, stream_of
from vertebra._cache.transfer.stall import StallDetector
from vertebra._configuration.settings import settings
from vertebra._system.log import log
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
"""Attempts to resolve a handle before the cache's ref is used, if there is one."""

_stale: set[PresetHandle] = set()
"""Handles whose last resolution came from the cache, because the service did not answer."""
_listed: dict[PresetHandle, list[PresetFile]] = {}
"""File lists that this process has resolved; used if the cache cannot be written to."""


class CachedSource:
    """A remote source wrapped in the cache.

    Args:
        source: The source.
        store: The store of files and file lists; None means the cache of the settings.
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
        """Returns the pinned handle of a handle; without a network, the one from the last resolution.

        Raises:
            OfflineError: the network must not be used, and the handle was never resolved.
            SourceUnavailableError: the service does not answer, and the handle was never resolved.
        """
        if self.source.is_pinned(handle):
            return handle
        if settings().offline:
            last = self._last(handle)
            if last is None:
                raise self._offline(handle)
            _stale.add(handle)
            return last
        try:
            return self._resolve_now(handle).handle
        except SourceUnavailableError as error:
            last = self._last(handle)
            if last is None:
                raise
            _stale.add(handle)
            log.warning("%s Using the cached revision %s.", error, last)
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
                raise self._offline(handle)
            return list(self._resolve_now(handle).files)
        except (OfflineError, SourceUnavailableError):
            external = self._external_snapshot(handle)
            if external is None:
                raise
            return list(external.files)

    def lists_all(self, handle: PresetHandle) -> bool:
        """Returns whether `files` returns all files of a preset, or only the files of another program's cache."""
        return self._known(handle) is not None

    def record(self, handle: PresetHandle, files: Sequence[PresetFile], refs: Sequence[PresetHandle]) -> None:
        """Stores the file list of a pinned preset, and the handles that resolve to it, as if they had been resolved."""
        with contextlib.suppress(CacheError):  # a read-only cache
            self.store.put_file_list(handle, files)
            for ref in refs:
                self.store.put_ref(ref, handle)

    def _known(self, handle: PresetHandle) -> list[PresetFile] | None:
        """Returns the file list of a pinned preset that this process or another one has resolved."""
        listed = self.store.file_list(handle)
        return _listed.get(handle) if listed is None else listed

    def _last(self, handle: PresetHandle) -> PresetHandle | None:
        """Returns the pinned handle from the last resolution of a handle, by the cache or by another program."""
        pinned = self.store.ref(handle, partial(is_revision, self.source))
        if pinned is not None:
            return pinned
        external = self._external_snapshot(handle)
        return external.handle if external and is_revision(self.source, external.handle, handle) else None

    def _external_snapshot(self, handle: PresetHandle) -> Snapshot | None:
        with contextlib.suppress(ClientMissingError):  # without the client library, its cache is empty
            return self.source.external_snapshot(handle)
        return None

    def _offline(self, handle: PresetHandle) -> OfflineError:
        """Returns the error for a preset that is not on this machine, with its revisions that are."""
        with contextlib.suppress(ClientMissingError):
            return OfflineError(handle, [], revisions=self.source.external_revisions(handle))
        return OfflineError(handle, [])

    def _resolve_now(self, handle: PresetHandle) -> Snapshot:
        attempts = count(1)
        snapshot = retry(lambda: snapshot_of(self.source, handle), lambda: next(attempts), most=_MOST_ATTEMPTS)
        _listed[snapshot.handle] = list(snapshot.files)
        _stale.discard(handle)
        is_ref = snapshot.handle != handle and is_revision(self.source, snapshot.handle, handle)
        self.record(snapshot.handle, snapshot.files, [handle] if is_ref else [])
        return snapshot

    # === Files ===

    def find(self, handle: PresetHandle, file: PresetFile) -> Path | None:
        """Returns the path of a file of a pinned preset in the cache, or None."""
        return self.store.find(handle, file)

    def find_external(self, handle: PresetHandle, file: PresetFile) -> Path | None:
        """Returns the path as `find` does, after importing the file from another program's cache; uses no network."""
        with contextlib.suppress(OfflineError):
            return fetch_files(self.store, self.source, handle, [file], offline=True)[0]
        return None

    def fetch(self, handle: PresetHandle, name: str) -> Path:
        """Returns the path of one file of a pinned preset, and downloads the file if it is not cached.

        Raises:
            PresetNotFoundError: the preset has no such file.
            VertebraError: as for `fetch_all`.
        """
        wanted = [file for file in self.files(handle) if file.name == name]
        if not wanted:
            raise PresetNotFoundError(handle, f"it has no file {name!r}")
        return self.fetch_all(handle, wanted)[0]

    def fetch_all(self, handle: PresetHandle, files: Sequence[PresetFile]) -> list[Path]:
        """Returns the paths of files of a pinned preset, and downloads the files that are not cached.

        Raises:
            OfflineError, IntegrityError, SourceUnavailableError, CacheError: as for `fetch_files`.
        """
        return fetch_files(self.store, self.source, handle, files, settings().offline)

    def read_range(self, handle: PresetHandle, file: PresetFile, start: int, stop: int) -> bytes:
        """Returns a range of a file of a pinned preset; the bytes are neither cached nor verified.

        Raises:
            OfflineError: the network must not be used.
            SourceUnavailableError: every attempt failed.
        """
        if settings().offline:
            raise OfflineError(handle, [file.name])
        attempts = count(1)
        return retry(lambda: self._read_range(handle, file, start, stop), lambda: next(attempts), most=_MOST_ATTEMPTS)

    def _read_range(self, handle: PresetHandle, file: PresetFile, start: int, stop: int) -> bytes:
        data, stall = bytearray(), StallDetector(handle, file.name)
        if start == stop:
            return b""
        with stream_of(self.source, handle, file, start, stop) as stream:
            skipped = start - stream.start  # a source without ranges sends the file from its beginning
            for chunk in stream.chunks:
                data += chunk
                if len(data) >= skipped + stop - start:
                    return bytes(data[skipped : skipped + stop - start])
                stall.record(len(chunk))
        raise SourceUnavailableError(handle, f"{file.name} was cut short at {stream.start + len(data):,} bytes")


def open_source(source: PresetSource) -> LocalSource | CachedSource:
    """Wraps a remote source in the cache; returns a local source as it is.

    Raises:
        PluginError: the source is neither local nor remote.
    """
    if isinstance(source, RemoteSource):
        return CachedSource(source)
    if isinstance(source, LocalSource):
        return source
    owner = type(source).__module__.partition(".")[0]
    problem = f"its source of {source.scheme}:// is a {type(source).__name__}, which is neither local nor remote"
    raise PluginError(owner, problem, "Derive it from vertebra.LocalSource or vertebra.RemoteSource")


def is_current(handle: PresetHandle) -> bool:
    """Returns whether the last `CachedSource.resolve` of a handle got the service's answer, and not the cache's ref."""
    return handle not in _stale
