"""A partial file: its bytes are written, hashed, and compared with the expected digest."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vertebra._cache.digest import Digest
from vertebra._cache.transfer.progress import AdvanceBy
from vertebra._cache.transfer.retry import CancelledError
from vertebra.errors import IntegrityError
from vertebra.handles import PresetHandle
from vertebra.remote import RemoteSource
from vertebra.specs import PresetFile

PROGRESS = 2**16
"""Bytes that must arrive before earlier failures stop counting."""

_sync = getattr(os, "fdatasync", os.fsync)
TranslateOsErrors = Callable[[], contextlib.AbstractContextManager[None]]
"""Callback with the number of bytes that arrived, or minus the number of bytes that were discarded."""


@dataclass(frozen=True, slots=True)
class DownloadJob:
    """A file to download."""

    source: RemoteSource
    handle: PresetHandle
    file: PresetFile
    advance: AdvanceBy
    cancelled: threading.Event


class WriterThreads:
    """The writer and hasher threads of a download, as a context manager."""

    def __init__(self) -> None:
        self.writer, self.hasher = SerialWorker("writer"), SerialWorker("hasher")

    def __enter__(self) -> WriterThreads:
        return self

    def __exit__(self, *exception: object) -> None:
        with self.writer, self.hasher:
            pass

    def wait(self) -> None:
        """Waits until both threads have finished their work."""
        self.writer.wait()
        self.hasher.wait()


class PartialFile:
    """A partial file, and the digests of its bytes."""

    def __init__(self, path: Path, job: DownloadJob, translate_os_errors: TranslateOsErrors) -> None:
        """
        Args:
            path: A new file, or a claimed partial download of the same file.
            job: The download.
            translate_os_errors: Returns a context manager that raises errors of the file system as CacheError.
        """
        self.path, self.job, self._translate_os_errors = path, job, translate_os_errors
        self.size = 0
        self.etag: str | None = None
        self.restarts = 0
        self.failures = 0
        self.stopped = False
        """Whether the ranges that are downloaded at once must stop, because one of them has failed."""
        self._gained = 0
        """Bytes since the last failed attempt."""
        self._received, self._receiving = 0, threading.Lock()
        """Bytes that arrived, of which some may not be written yet."""
        self.expected = job.file.digest
        self._response_digest: str | None = None
        self._digest = Digest(self.expected, job.file.size)
        with translate_os_errors():
            self._stream = path.open("r+b")
            self._resume()
        self.claimed = self.size > 0
        """Whether the file begins with bytes that another process downloaded."""

    def _resume(self) -> None:
        """Reads and hashes the bytes that the file has already."""
        # If the file list has no digest, a response may have one: at least the last byte must be requested.
        limit = max(self.job.file.size - (self.expected is None), 0)
        while block := self._stream.read(min(2**20, limit - self.size)):
            self._digest.update(block)
            self.size += len(block)
            if self.size % 2**28 == 0:
                os.utime(self.path)  # renews the lease
        self._stream.seek(self.size)
        self._stream.truncate()
        if self.size:
            self.receive(self.size)

    def receive(self, size: int) -> None:
        """Counts bytes that arrived, for the progress; any thread may call it, before or after they are written."""
        with self._receiving:
            self._received += size
        self.job.advance(size)

    def write(self, *chunks: bytes, writers: WriterThreads | None = None) -> None:
        """Appends bytes that arrived.

        Args:
            chunks: The bytes.
            writers: Threads that write the bytes to the disk and compute the source's digest, while this thread
                computes the SHA-256: with several streams, one thread for all three would be the bottleneck.

        Raises:
            IntegrityError: more bytes arrive than the file should have.
        """
        if self.job.cancelled.is_set():
            raise CancelledError
        size = sum(map(len, chunks))
        if self.size + size > self.job.file.size:
            raise self.integrity_error(f"it has more than the expected {self.job.file.size:,} bytes")
        self._use_response_digest(writers)
        if writers is None:
            self._append(chunks)
            self._digest.update(*chunks)
        else:
            writers.writer.do(lambda: self._append(chunks, to_disk=True))
            writers.hasher.do(lambda: self._digest.update_source_digest(*chunks))
            self._digest.update_sha256(*chunks)
        self.size += size
        self._gained += size
        if self._gained >= PROGRESS:
            self.failures = 0

    def keep(self, *chunks: bytes) -> None:
        """Appends bytes for the next attempt, which reads and hashes the file again; this one has ended."""
        self._append(chunks)
        self.size += sum(map(len, chunks))

    def _append(self, chunks: Sequence[bytes], to_disk: bool = False) -> None:
        with self._translate_os_errors():
            for chunk in chunks:
                self._stream.write(chunk)
            if to_disk:
                self._stream.flush()
                _sync(self._stream.fileno())

    def is_stopped(self) -> bool:
        """Returns whether the fetch was cancelled, or another range of the file has failed."""
        return self.stopped or self.job.cancelled.is_set()

    def count_attempt(self) -> None:
        """Counts an attempt as failed; progress resets the count."""
        self.failures += 1
        self._gained = 0

    def restart(self) -> None:
        """Discards all bytes."""
        self.job.advance(-self._received)
        self._received = 0
        with self._translate_os_errors():
            self._stream.seek(0)
            self._stream.truncate()
        self.size, self.etag, self._digest = 0, None, Digest(self.expected, self.job.file.size)
        self.claimed = self.stopped = False

    @property
    def has_expected_digest(self) -> bool:
        """Whether the file list or a response has a digest of the whole file."""
        return (self.expected or self._response_digest) is not None

    def expect_digest(self, digest: str | None) -> None:
        """Keeps the digest of the whole file from a response; the thread that writes uses it."""
        self._response_digest = self._response_digest or digest

    def _use_response_digest(self, writers: WriterThreads | None = None) -> None:
        """Starts to compute a response's digest if the file list has none; hashes the present bytes again."""
        if self.expected is not None or self._response_digest is None:
            return
        if writers is not None:
            writers.wait()
        self.expected = self._response_digest
        self._digest = Digest(self.expected, self.job.file.size)
        with self._translate_os_errors():
            self._stream.flush()
            with self.path.open("rb") as stream:
                while block := stream.read(2**20):
                    self._digest.update(block)

    def finish(self) -> str:
        """Returns the SHA-256 of the complete file.

        Raises:
            IntegrityError: the bytes do not match the expected digest.
        """
        with self._translate_os_errors():
            self._stream.flush()
        self._use_response_digest()
        problem = self._digest.mismatch()
        if problem:
            raise self.integrity_error(problem)
        return self._digest.sha256()

    def integrity_error(self, problem: str) -> IntegrityError:
        """Returns the error for a file that fails verification."""
        return IntegrityError(self.job.handle, self.job.file.name, problem)

    def close(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):  # writing has reported a full disk already
            self._stream.close()


class SerialWorker:
    """One worker thread; the context manager ends when its work is done."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, f"vertebra-{name}")
        self._last: Future[None] | None = None

    def __enter__(self) -> SerialWorker:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()

    def do(self, work: Callable[[], None]) -> None:
        """Starts some work after the previous work is done.

        Raises:
            Exception: the previous work failed.
        """
        self.wait()
        self._last = self._pool.submit(work)

    def wait(self) -> None:
        """Waits until the work is done.

        Raises:
            Exception: the work failed.
        """
        if self._last is not None:
            self._last.result()
