"""A file that is arriving: what there is of it, written and hashed, and compared with what was promised."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vertebra._cache.digest import Digest
from vertebra._cache.retry import CancelledError
from vertebra.errors import IntegrityError
from vertebra.handles import PresetHandle
from vertebra.remote import RemoteSource
from vertebra.specs import PresetFile

PROGRESS = 2**16
"""Bytes that must come before failed attempts are forgotten."""

_sync = getattr(os, "fdatasync", os.fsync)
Explained = Callable[[], contextlib.AbstractContextManager[None]]
Advance = Callable[[int], None]
"""Is told how many bytes have arrived, or, below zero, how many of them were given up."""


@dataclass(frozen=True, slots=True)
class Job:
    """A file to transfer."""

    source: RemoteSource
    handle: PresetHandle
    file: PresetFile
    advance: Advance
    cancelled: threading.Event


class WriterThreads:
    """Threads beside the one that takes up what arrives, as a context manager."""

    def __init__(self) -> None:
        self.writer, self.hasher = SerialWorker("writer"), SerialWorker("hasher")

    def __enter__(self) -> WriterThreads:
        return self

    def __exit__(self, *exception: object) -> None:
        with self.writer, self.hasher:
            pass

    def wait(self) -> None:
        """Waits until they have done what they were given."""
        self.writer.wait()
        self.hasher.wait()


class PartialFile:
    """A file that is arriving: what there is of it, hashed."""

    def __init__(self, path: Path, job: Job, translate_os_errors: Explained) -> None:
        """
        Args:
            path: A file, empty or with what somebody else had of the same one.
            job: What is to arrive.
            explained: Says what an error of the file system means, as a context manager.
        """
        self.path, self.job, self._explained = path, job, translate_os_errors
        self.size = 0
        self.etag: str | None = None
        self.restarts = 0
        self.failures = 0
        self.stopped = False
        """Whether parts that are transferred beside each other must stop, as one has failed."""
        self._gained = 0
        """Bytes since the last failure that counts."""
        self.expected = job.file.digest
        self._said: str | None = None
        self._digest = Digest(self.expected, job.file.size)
        with translate_os_errors():
            self._stream = path.open("r+b")
            self._take_over()
        self.claimed = self.size > 0
        """Whether it begins with what another process had, which nobody here has seen arrive."""

    def _take_over(self) -> None:
        """Goes on from what is there."""
        # If the listing has promised nothing, an answer may, so there must be one: the last byte is asked for.
        most = max(self.job.file.size - (self.expected is None), 0)
        while block := self._stream.read(min(2**20, most - self.size)):
            self._digest.update(block)
            self.size += len(block)
            if self.size % 2**28 == 0:
                os.utime(self.path)  # a sign of life
        self._stream.seek(self.size)
        self._stream.truncate()
        if self.size:
            self.job.advance(self.size)

    def write(self, *chunks: bytes, writers: WriterThreads | None = None) -> None:
        """Appends what arrived.

        Args:
            chunks: The bytes.
            helpers: Threads that write them, to the disk itself, and hash them as the source does, while this one
                hashes them as the cache does: whoever has four streams would wait for one after the other.

        Raises:
            IntegrityError: there is more than the file has.
        """
        if self.job.cancelled.is_set():
            raise CancelledError
        size = sum(map(len, chunks))
        if self.size + size > self.job.file.size:
            raise self.integrity_error(f"it is longer than the {self.job.file.size:,} bytes it should have")
        self._take_up_promise(writers)
        if writers is None:
            self._append(chunks)
            self._digest.update(*chunks)
        else:
            writers.writer.do(lambda: self._append(chunks, to_disk=True))
            writers.hasher.do(lambda: self._digest.update_promised(*chunks))
            self._digest.update_own(*chunks)
        self.size += size
        self._gained += size
        if self._gained >= PROGRESS:
            self.failures = 0
        self.job.advance(size)

    def _append(self, chunks: Sequence[bytes], to_disk: bool = False) -> None:
        with self._explained():
            for chunk in chunks:
                self._stream.write(chunk)
            if to_disk:
                self._stream.flush()
                _sync(self._stream.fileno())

    def is_stopped(self) -> bool:
        """Whether the user has interrupted the whole, or another part of the file has failed."""
        return self.stopped or self.job.cancelled.is_set()

    def fail_unless_it_arrives(self) -> None:
        """Counts an attempt as failed until there is progress."""
        self.failures += 1
        self._gained = 0

    def restart(self) -> None:
        """Forgets what has arrived."""
        self.job.advance(-self.size)
        with self._explained():
            self._stream.seek(0)
            self._stream.truncate()
        self.size, self.etag, self._digest = 0, None, Digest(self.expected, self.job.file.size)
        self.claimed = self.stopped = False

    @property
    def has_expected_digest(self) -> bool:
        """Whether the listing or an answer has said what the whole file hashes to."""
        return (self.expected or self._said) is not None

    def expect_digest(self, digest: str | None) -> None:
        """Notes what an answer says that the whole file hashes to; the thread that writes takes it up."""
        self._said = self._said or digest

    def _take_up_promise(self, writers: WriterThreads | None = None) -> None:
        """Begins to compare with what an answer says, if the listing said nothing; what is here is hashed anew."""
        if self.expected is not None or self._said is None:
            return
        if writers is not None:
            writers.wait()
        self.expected = self._said
        self._digest = Digest(self.expected, self.job.file.size)
        with self._explained():
            self._stream.flush()
            with self.path.open("rb") as stream:
                while block := stream.read(2**20):
                    self._digest.update(block)

    def finish(self) -> str:
        """Returns the SHA-256 of the complete file.

        Raises:
            IntegrityError: the content is not what was promised.
        """
        with self._explained():
            self._stream.flush()
        self._take_up_promise()
        problem = self._digest.mismatch()
        if problem:
            raise self.integrity_error(problem)
        return self._digest.sha256()

    def integrity_error(self, problem: str) -> IntegrityError:
        """Returns the error that says why the content is not accepted."""
        return IntegrityError(self.job.handle, self.job.file.name, problem)

    def close(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):  # a full disk was reported by whoever wrote
            self._stream.close()


class SerialWorker:
    """One thread, as a context manager that ends with its work."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, f"vertebra-{name}")
        self._last: Future[None] | None = None

    def __enter__(self) -> SerialWorker:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()

    def do(self, work: Callable[[], None]) -> None:
        """Begins some work, once what was begun before is done.

        Raises:
            Exception: that has failed.
        """
        self.wait()
        self._last = self._pool.submit(work)

    def wait(self) -> None:
        """Waits until all is done.

        Raises:
            Exception: it has failed.
        """
        if self._last is not None:
            self._last.result()
