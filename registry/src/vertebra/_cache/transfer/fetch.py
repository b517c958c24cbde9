"""Fetching files of a pinned preset into the store: cached files are used, missing ones downloaded and verified."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra._cache.digest import Digest
from vertebra._cache.layout import key_of, sha256_of
from vertebra._cache.leases import download_lock
from vertebra._cache.manifest import Record
from vertebra._cache.store import Store
from vertebra._cache.transfer.download import download
from vertebra._cache.transfer.partial_file import DownloadJob, PartialFile
from vertebra._cache.transfer.progress import Progress, show_progress
from vertebra._cache.transfer.retry import CancelledError
from vertebra._system.log import log
from vertebra._system.ownership import ABANDONED, is_abandoned
from vertebra._system.regular_files import open_regular
from vertebra._system.spans import is_recording, public_handle, span
from vertebra.errors import CacheError, ClientMissingError, OfflineError, SourceUnavailableError
from vertebra.handles import PresetHandle
from vertebra.remote import RemoteSource
from vertebra.specs import PresetFile

AT_ONCE = 4
"""Files that are downloaded at once."""
_BLOCK = 2**20
_KEEP_FOR = 3600.0
"""Lease, in seconds since the last write, of a partial download that a process on another machine began."""


class _Cancellation(threading.Event):
    """Is set when all downloads must stop."""

    keeps = True
    """Whether partial downloads are kept for the next attempt; False after an error such as a full disk."""


@dataclass(frozen=True, slots=True)
class FetchSession:
    """The context that all files of one `fetch_files` call share."""

    store: Store
    source: RemoteSource
    handle: PresetHandle
    progress: Progress
    cancelled: _Cancellation

    def key(self, file: PresetFile) -> str:
        """Returns a key that is the same for all processes that download the same bytes."""
        return key_of(sha256_of(file) or "", *(() if sha256_of(file) else (str(self.handle), file.name)))

    def job(self, file: PresetFile) -> DownloadJob:
        """Returns the job for the download of a file."""
        return DownloadJob(
            self.source, self.handle, file, lambda count: self.progress.advance(file.name, count), self.cancelled
        )


def fetch_files(
    store: Store, source: RemoteSource, handle: PresetHandle, files: Sequence[PresetFile], offline: bool
) -> list[Path]:
    """Returns the local path of each file, and downloads the files that are not cached.

    Raises:
        OfflineError: files are missing, and the network must not be used.
        IntegrityError: the bytes of a file do not match the expected size or digest.
        SourceUnavailableError: the source failed too often in a row.
        CacheError: the cache cannot be written to, or its disk is too full.
    """
    with span("fetch") as set_attributes:
        cached = {file.name: path for file in files if (path := store.find(handle, file)) is not None}
        missing = [file for file in files if file.name not in cached]
        if is_recording():
            set_attributes(**_attributes(handle, files, missing))
            _record_cached(handle, [file for file in files if file.name in cached])
        for file in files:
            if file.name in cached:
                _put_missing_record(store, handle, file, cached[file.name])
        if missing:
            with show_progress(missing) as progress:
                session = FetchSession(store, source, handle, progress, _Cancellation())
                cached |= _import_all_external(session, missing) if offline else _fetch_all(session, missing)
        missing_files = [file.name for file in files if file.name not in cached]
        if missing_files:
            raise OfflineError(handle, missing_files)
    return [cached[file.name] for file in files]


def _attributes(handle: PresetHandle, files: Sequence[PresetFile], missing: Sequence[PresetFile]) -> dict[str, Any]:
    """Returns the attributes of the span of a fetch."""
    sizes = {"bytes": sum(file.size for file in files), "missing_bytes": sum(file.size for file in missing)}
    return {"preset": public_handle(handle), "files": len(files), "cached": not missing, **sizes}


def _record_cached(handle: PresetHandle, files: Sequence[PresetFile]) -> None:
    """Records a span for each file that is in the cache."""
    for file in files:
        with span("fetch.file", **_attributes_of_file(handle, file, cached=True)):
            pass


def _attributes_of_file(handle: PresetHandle, file: PresetFile, cached: bool) -> dict[str, Any]:
    return {"preset": public_handle(handle), "file": file.name, "bytes": file.size, "cached": cached}


def _put_missing_record(store: Store, handle: PresetHandle, file: PresetFile, blob: Path) -> None:
    """Adds the record of a file whose blob another preset has cached; a blob in a tier has its record there."""
    if blob.is_relative_to(store.root) and store.record(handle, file.name) is None:
        with contextlib.suppress(CacheError, OSError):  # a read-only cache still serves its blobs
            os.utime(blob)  # so that no process prunes it before the record is written
            store.put_record(handle, Record(file.name, file.size, blob.name))


def _import_all_external(session: FetchSession, files: Sequence[PresetFile]) -> dict[str, Path]:
    """Imports files from another program's cache."""
    imported: dict[str, Path] = {}
    with contextlib.suppress(ClientMissingError, CacheError):  # these files stay missing
        for file in files:
            path = _import_external(session, file)
            imported |= {} if path is None else {file.name: path}
    return imported


def _fetch_all(session: FetchSession, files: Sequence[PresetFile]) -> dict[str, Path]:
    """Fetches files, several at once; the first error, or Ctrl-C, stops all of them."""
    with (
        session.store.translate_os_errors(),
        contextlib.suppress(FileNotFoundError),
    ):  # another process has just finished the file
        _check_space(session, files)
    with ThreadPoolExecutor(min(AT_ONCE, len(files)), thread_name_prefix="vertebra-fetch") as pool:
        # Each thread has a copy of the context, so that spans of files are inside that of the preset.
        futures = {file.name: pool.submit(copy_context().run, _fetch_traced, session, file) for file in files}
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


def _fetch_traced(session: FetchSession, file: PresetFile) -> Path:
    with span("fetch.file") as set_attributes:
        if is_recording():
            set_attributes(**_attributes_of_file(session.handle, file, cached=False))
        return _fetch(session, file)


def _fetch(session: FetchSession, file: PresetFile) -> Path:
    with download_lock(session.store, session.key(file), session.cancelled):
        if session.cancelled.is_set():
            raise CancelledError
        blob = session.store.find(session.handle, file)  # the lock's previous holder may have fetched it
        if blob is not None:
            session.progress.advance(file.name, file.size)
            _put_missing_record(session.store, session.handle, file, blob)
            return blob
        return _import_external(session, file) or _download(session, file)


def _import_external(session: FetchSession, file: PresetFile) -> Path | None:
    """Imports a file from another program's cache, if it matches the source's digest or is listed there only."""
    external = session.source.external_file(session.handle, file)
    if external is None or (file.digest is None and file.path is None):
        return None
    stage = session.store.stage("partial", session.key(file))
    try:
        # A copy, because another program could change the original.
        digest = _copy(external, stage, Digest(file.digest, file.size))
        if stage.stat().st_size != file.size or digest.mismatch():
            return None
        session.progress.advance(file.name, file.size)
        if file.digest is None:
            text = "%s: %s is used as another program's cache has it, at %s; without a network, it cannot be verified"
            log.warning(text, session.handle, file.name, external)
        return _keep(session, file, stage, digest.sha256())
    except CacheError:
        raise
    except OSError:
        return None
    finally:
        _remove(stage)


def _copy(source: Path, target: Path, digest: Digest) -> Digest:
    with open_regular(source) as reading, target.open("wb") as writing:
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
            with contextlib.suppress(OSError):  # keep the partial download for the next attempt
                stage.rename(stage.with_name(f"{key}.{ABANDONED}.{stage.name.split('.')[2]}.tmp"))
        raise
    finally:
        if partial_file is not None:
            partial_file.close()
        _remove(stage)


def _claim_abandoned(store: Store, key: str) -> Path | None:
    """Claims one abandoned partial download of a file and returns its path; removes any others."""
    claimed: Path | None = None
    for path in store.partials(key):
        if is_abandoned(path, time.time(), _KEEP_FOR):
            claimed = claimed or store.claim_partial(path, key)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return claimed


def _remove(stage: Path) -> None:
    with contextlib.suppress(OSError):  # a file that is left is removed by `prune`
        stage.unlink(missing_ok=True)


def _check_space(session: FetchSession, files: Sequence[PresetFile]) -> None:
    """Raises CacheError before a download that would fill the disk; the bytes of partial downloads count as present."""
    begun = {file.name: [path.stat().st_size for path in session.store.partials(session.key(file))] for file in files}
    needed = sum(max(file.size - max(begun[file.name], default=0), 0) for file in files)
    root = session.store.root
    free = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists())).free
    if free < needed + needed // 20:
        problem = f"the download needs {needed:,} bytes, but its disk has only {free:,} bytes free"
        raise CacheError(root, problem, "Free some space, or set VERTEBRA_CACHE to a folder on another disk")


def _keep(session: FetchSession, file: PresetFile, stage: Path, sha256: str) -> Path:
    path = session.store.put_blob(stage, sha256)
    session.store.put_record(session.handle, Record(file.name, file.size, sha256, file.digest is not None))
    return path
