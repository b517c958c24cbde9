"""Fetching files of a pinned preset into the store: nothing that is here already, everything else once and checked."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from vertebra._cache.digest import Digest
from vertebra._cache.download import download
from vertebra._cache.layout import key_of, sha256_of
from vertebra._cache.leases import download_lock
from vertebra._cache.manifest import Record
from vertebra._cache.ownership import ABANDONED, is_abandoned
from vertebra._cache.partial_file import Job, PartialFile
from vertebra._cache.progress import Progress, showing
from vertebra._cache.retry import CancelledError
from vertebra._cache.store import Store
from vertebra.errors import CacheError, ClientMissingError, OfflineError, SourceUnavailableError
from vertebra.handles import PresetHandle
from vertebra.remote import RemoteSource
from vertebra.specs import PresetFile

AT_ONCE = 4
"""Files that are transferred at once."""
_BLOCK = 2**20
_KEEP_FOR = 3600.0
"""Seconds without a sign of life after which what somebody on another machine began counts as abandoned."""


class _Cancellation(threading.Event):
    """Is set when all transfers must stop."""

    keeps = True
    """Whether what has arrived may be of use to whoever tries again: not on a full disk, say."""


@dataclass(frozen=True, slots=True)
class FetchSession:
    """What all files of one call have in common."""

    store: Store
    source: RemoteSource
    handle: PresetHandle
    progress: Progress
    cancelled: _Cancellation

    def key(self, file: PresetFile) -> str:
        """Returns the same text for whoever fetches the same content."""
        return key_of(sha256_of(file) or "", *(() if sha256_of(file) else (str(self.handle), file.name)))

    def job(self, file: PresetFile) -> Job:
        """Returns what the transfer of a file needs to know."""
        return Job(
            self.source, self.handle, file, lambda count: self.progress.advance(file.name, count), self.cancelled
        )


def fetch_files(
    store: Store, source: RemoteSource, handle: PresetHandle, files: Sequence[PresetFile], offline: bool
) -> list[Path]:
    """Returns the local path of each file, after transferring those that are not here.

    Raises:
        OfflineError: some are not here, and the network must not be used.
        IntegrityError: what arrived is not what was promised.
        SourceUnavailableError: the source failed again and again.
        CacheError: the cache cannot be written to, or is too small.
    """
    here = {file.name: path for file in files if (path := store.find(handle, file)) is not None}
    for file in files:
        if file.name in here:
            _note(store, handle, file, here[file.name])
    missing = [file for file in files if file.name not in here]
    if missing:
        with showing(missing) as progress:
            session = FetchSession(store, source, handle, progress, _Cancellation())
            here |= _import_all_external(session, missing) if offline else _fetch_all(session, missing)
    missing_files = [file.name for file in files if file.name not in here]
    if missing_files:
        raise OfflineError(handle, missing_files)
    return [here[file.name] for file in files]


def _note(store: Store, handle: PresetHandle, file: PresetFile, found: Path) -> None:
    """Notes a content that is here because another preset has it, too; of those in a tier, the tier has notes."""
    if found.is_relative_to(store.root) and store.record(handle, file.name) is None:
        with contextlib.suppress(CacheError, OSError):  # a cache that is only read serves what it has
            os.utime(found)  # so that nobody prunes it before it is noted
            store.put_record(handle, Record(file.name, file.size, found.name))


def _import_all_external(session: FetchSession, files: Sequence[PresetFile]) -> dict[str, Path]:
    """Takes up what another program has of some files."""
    found: dict[str, Path] = {}
    with contextlib.suppress(ClientMissingError, CacheError):  # who cannot take them up lacks them
        for file in files:
            path = _import_external(session, file)
            found |= {} if path is None else {file.name: path}
    return found


def _fetch_all(session: FetchSession, files: Sequence[PresetFile]) -> dict[str, Path]:
    """Fetches files, several at once; the first error, or Ctrl-C, stops all."""
    with (
        session.store.translate_os_errors(),
        contextlib.suppress(FileNotFoundError),
    ):  # another process has just finished it
        _check_space(session, files)
    with ThreadPoolExecutor(min(AT_ONCE, len(files)), thread_name_prefix="vertebra-fetch") as pool:
        futures = {file.name: pool.submit(_fetch, session, file) for file in files}
        try:
            wait(futures.values(), return_when=FIRST_EXCEPTION)
            errors = [error for future in futures.values() if future.done() and (error := future.exception())]
            if errors:
                raise errors[0]
        except BaseException as error:
            session.cancelled.keeps = isinstance(error, SourceUnavailableError | KeyboardInterrupt)
            session.cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: future.result() for name, future in futures.items()}


def _fetch(session: FetchSession, file: PresetFile) -> Path:
    with download_lock(session.store, session.key(file), session.cancelled):
        if session.cancelled.is_set():
            raise CancelledError
        found = session.store.find(session.handle, file)  # whoever was at work before may have been at the same
        if found is not None:
            session.progress.advance(file.name, file.size)
            _note(session.store, session.handle, file, found)
            return found
        return _import_external(session, file) or _download(session, file)


def _import_external(session: FetchSession, file: PresetFile) -> Path | None:
    """Takes up what another program has on this machine, if it is what the source promises."""
    theirs = session.source.external_file(session.handle, file)
    if theirs is None or file.digest is None:
        return None
    stage = session.store.stage("partial", session.key(file))
    try:
        # A copy: nobody else's program may change what the cache vouches for.
        digest = _copy(theirs, stage, Digest(file.digest, file.size))
        if stage.stat().st_size != file.size or digest.mismatch():
            return None
        session.progress.advance(file.name, file.size)
        return _keep(session, file, stage, digest.sha256())
    except CacheError:
        raise
    except OSError:
        return None
    finally:
        _remove(stage)


def _copy(source: Path, target: Path, digest: Digest) -> Digest:
    with source.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(_BLOCK):
            writing.write(block)
            digest.update(block)
    return digest


def _download(session: FetchSession, file: PresetFile) -> Path:
    key = session.key(file)
    with session.store.translate_os_errors():
        stage = _claim_abandoned(session.store, key) or session.store.stage("partial", key)
    partial_file = None
    try:
        partial_file = PartialFile(stage, session.job(file), session.store.translate_os_errors)
        sha256 = download(partial_file)
        return _keep(session, file, stage, sha256)
    except (SourceUnavailableError, CancelledError):
        if session.cancelled.keeps:
            with contextlib.suppress(OSError):  # what has arrived is for whoever tries again
                stage.rename(stage.with_name(f"{key}.{ABANDONED}.{stage.name.split('.')[2]}.tmp"))
        raise
    finally:
        if partial_file is not None:
            partial_file.close()
        _remove(stage)


def _claim_abandoned(store: Store, key: str) -> Path | None:
    """Returns what somebody who is gone had of the same file; more than that is removed."""
    found: Path | None = None
    for path in store.partials(key):
        if is_abandoned(path, time.time(), _KEEP_FOR):
            found = found or store.claim_partial(path, key)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return found


def _remove(stage: Path) -> None:
    with contextlib.suppress(OSError):  # what is left is removed by whoever is next
        stage.unlink(missing_ok=True)


def _check_space(session: FetchSession, files: Sequence[PresetFile]) -> None:
    """Better before anything is transferred than halfway; of what was begun before, the rest is needed."""
    begun = {file.name: [path.stat().st_size for path in session.store.partials(session.key(file))] for file in files}
    needed = sum(max(file.size - max(begun[file.name], default=0), 0) for file in files)
    root = session.store.root
    free = shutil.disk_usage(next(place for place in (root, *root.parents) if place.exists())).free
    if free < needed + needed // 20:
        problem = f"{free:,} bytes are free on its disk, and {needed:,} are to be fetched"
        raise CacheError(root, problem, "Free some space, or set VERTEBRA_CACHE to a folder on another disk")


def _keep(session: FetchSession, file: PresetFile, stage: Path, sha256: str) -> Path:
    path = session.store.put_blob(stage, sha256)
    session.store.put_record(session.handle, Record(file.name, file.size, sha256))
    return path
