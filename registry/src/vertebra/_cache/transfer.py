"""Transferring one file: from where a source starts to give its bytes to a complete file whose content was checked."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vertebra._cache.beside import Beside
from vertebra._cache.digests import Digest
from vertebra._cache.pace import Pace
from vertebra.errors import IntegrityError, SourceUnavailableError, VertebraError
from vertebra.handles import PresetHandle
from vertebra.specs import PresetFile

if TYPE_CHECKING:
    from vertebra.remote import Content, RemoteSource

PIECE = 8 * 2**20
"""Bytes of a part that is transferred at once with others; of those, `streams` and about four more are in memory."""
MOST_FAILURES, PROGRESS = 6, 2**16
"""Attempts after which a transfer is given up, unless so many bytes come in between."""
LONGEST_WAIT, FIRST_WAIT = 60.0, 0.5
"""Seconds between attempts; a service that asks for a longer break than the first is not waited for."""

_POLL = 0.1
_sync = getattr(os, "fdatasync", os.fsync)
T = TypeVar("T")
Explained = Callable[[], contextlib.AbstractContextManager[None]]
Advance = Callable[[int], None]
"""Is told how many bytes have arrived, or, below zero, how many of them were given up."""


class Cancelled(Exception):  # noqa: N818 (it is no error)
    """The user has interrupted the whole."""


class _ChangedError(Exception):
    """What arrives does not continue what has arrived: the file must be transferred from its beginning."""


class _NoPartsError(_ChangedError):
    """A source has only whole files to give."""


class _UnverifiableError(Exception):
    """Nothing says whether what another process left is as it had arrived: its disk may have lost the end."""


@dataclass(frozen=True, slots=True)
class Job:
    """A file to transfer."""

    source: RemoteSource
    handle: PresetHandle
    file: PresetFile
    advance: Advance
    cancelled: threading.Event


class Helpers:
    """Threads beside the one that takes up what arrives, as a context manager."""

    def __init__(self) -> None:
        self.writer, self.hasher = Beside("writer"), Beside("hasher")

    def __enter__(self) -> Helpers:
        return self

    def __exit__(self, *exception: object) -> None:
        with self.writer, self.hasher:
            pass

    def wait(self) -> None:
        """Waits until they have done what they were given."""
        self.writer.wait()
        self.hasher.wait()


class Arriving:
    """A file that is arriving: what there is of it, hashed."""

    def __init__(self, path: Path, job: Job, explained: Explained) -> None:
        """
        Args:
            path: A file, empty or with what somebody else had of the same one.
            job: What is to arrive.
            explained: Says what an error of the file system means, as a context manager.
        """
        self.path, self.job, self._explained = path, job, explained
        self.size = 0
        self.tag: str | None = None
        self.restarts = 0
        self.failures = 0
        self.stopped = False
        """Whether parts that are transferred beside each other must stop, as one has failed."""
        self._gained = 0
        """Bytes since the last failure that counts."""
        self.promised = job.file.digest
        self._said: str | None = None
        self._digest = Digest(self.promised, job.file.size)
        with explained():
            self._stream = path.open("r+b")
            self._take_over()
        self.taken_over = self.size > 0
        """Whether it begins with what another process had, which nobody here has seen arrive."""

    def _take_over(self) -> None:
        """Goes on from what is there."""
        # If the listing has promised nothing, an answer may, so there must be one: the last byte is asked for.
        most = max(self.job.file.size - (self.promised is None), 0)
        while block := self._stream.read(min(2**20, most - self.size)):
            self._digest.update(block)
            self.size += len(block)
            if self.size % 2**28 == 0:
                os.utime(self.path)  # a sign of life
        self._stream.seek(self.size)
        self._stream.truncate()
        if self.size:
            self.job.advance(self.size)

    def write(self, *chunks: bytes, helpers: Helpers | None = None) -> None:
        """Appends what arrived.

        Args:
            chunks: The bytes.
            helpers: Threads that write them, to the disk itself, and hash them as the source does, while this one
                hashes them as the cache does: whoever has four streams would wait for one after the other.

        Raises:
            IntegrityError: there is more than the file has.
        """
        if self.job.cancelled.is_set():
            raise Cancelled
        size = sum(map(len, chunks))
        if self.size + size > self.job.file.size:
            raise self.refused(f"it is longer than the {self.job.file.size:,} bytes it should have")
        self._take_up_promise(helpers)
        if helpers is None:
            self._append(chunks)
            self._digest.update(*chunks)
        else:
            helpers.writer.do(lambda: self._append(chunks, to_disk=True))
            helpers.hasher.do(lambda: self._digest.update_promised(*chunks))
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

    def begin_again(self) -> None:
        """Forgets what has arrived."""
        self.job.advance(-self.size)
        with self._explained():
            self._stream.seek(0)
            self._stream.truncate()
        self.size, self.tag, self._digest = 0, None, Digest(self.promised, self.job.file.size)
        self.taken_over = self.stopped = False

    @property
    def is_promised(self) -> bool:
        """Whether the listing or an answer has said what the whole file hashes to."""
        return (self.promised or self._said) is not None

    def promise(self, digest: str | None) -> None:
        """Notes what an answer says that the whole file hashes to; the thread that writes takes it up."""
        self._said = self._said or digest

    def _take_up_promise(self, helpers: Helpers | None = None) -> None:
        """Begins to compare with what an answer says, if the listing said nothing; what is here is hashed anew."""
        if self.promised is not None or self._said is None:
            return
        if helpers is not None:
            helpers.wait()
        self.promised = self._said
        self._digest = Digest(self.promised, self.job.file.size)
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
        problem = self._digest.broken_promise()
        if problem:
            raise self.refused(problem)
        return self._digest.sha256()

    def refused(self, problem: str) -> IntegrityError:
        """Returns the error that says why the content is not accepted."""
        return IntegrityError(self.job.handle, self.job.file.name, problem)

    def close(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):  # a full disk was reported by whoever wrote
            self._stream.close()


def transfer(arriving: Arriving) -> str:
    """Transfers what is missing of a file and returns its SHA-256.

    What stops halfway is continued; what turns out wrong is transferred once more from its beginning.

    Raises:
        IntegrityError: the content is not what was promised.
        SourceUnavailableError: the source failed again and again.
        PresetNotFoundError, PresetAccessError: as the source says.
    """
    while True:
        try:
            _complete(arriving)
            return arriving.finish()
        except _UnverifiableError:
            arriving.begin_again()
        except (IntegrityError, _ChangedError) as error:
            arriving.begin_again()
            arriving.restarts += 1
            if arriving.restarts > 1:
                if isinstance(error, _NoPartsError):
                    raise SourceUnavailableError(arriving.job.handle, str(error)) from error
                raise error if isinstance(error, IntegrityError) else arriving.refused(str(error)) from error


def _complete(arriving: Arriving) -> None:
    job = arriving.job
    if job.file.size - arriving.size > 2 * PIECE and job.source.streams > 1 and arriving.restarts == 0:
        _in_pieces(arriving)  # what was refused is transferred in one piece: perhaps ranges are what goes wrong
    else:
        retrying(lambda: _in_one(arriving), lambda: arriving.failures, arriving.is_stopped)


def _in_one(arriving: Arriving) -> None:
    """Transfers the rest of a file through one answer."""
    job = arriving.job
    if arriving.size == job.file.size and arriving.size:
        return
    arriving.fail_unless_it_arrives()
    pace = Pace(job.handle, job.file.name)
    with _answering(job), job.source.read(job.handle, job.file, arriving.size) as content:
        _check(arriving, content, arriving.size)
        for chunk in content.chunks:
            arriving.write(chunk)
            if arriving.size < job.file.size:
                pace.note(len(chunk))
    if arriving.size < job.file.size:
        raise SourceUnavailableError(job.handle, f"{job.file.name} was cut short at {arriving.size:,} bytes")


@contextlib.contextmanager
def _answering(job: Job) -> Iterator[None]:
    """A connection that breaks is what may pass, whichever way a client's library says so."""
    try:
        yield
    except VertebraError:
        raise
    except OSError as error:
        words = f": {error.strerror}" if error.strerror else ""  # whatever else it says may hold a signed address
        raise SourceUnavailableError(job.handle, f"{type(error).__name__}{words}") from None


def _check(arriving: Arriving, content: Content, start: int) -> None:
    """Compares what an answer says of itself with what was asked for, and with the answers before."""
    size = arriving.job.file.size
    if content.total not in (None, size):
        raise arriving.refused(f"{content.total:,} bytes were sent, and it should have {size:,}")
    if content.start == 0 < start:
        name = arriving.job.file.name
        raise _NoPartsError(f"{name} breaks off again and again, and can only be had from its beginning")
    if content.start != start:
        raise _ChangedError(f"it was sent from byte {content.start:,}, and asked for from {start:,}")
    if arriving.tag is not None and content.tag not in (None, arriving.tag):
        raise _ChangedError("it changed while it was transferred")
    arriving.tag = content.tag or arriving.tag
    arriving.promise(content.digest)
    if arriving.taken_over and not arriving.is_promised:
        raise _UnverifiableError


def _in_pieces(arriving: Arriving) -> None:
    """Transfers the rest in parts, several at once; they are taken up in order, so that what there is has no gaps."""
    job = arriving.job
    waiting: deque[Future[list[bytes]]] = deque()
    starts = iter(range(arriving.size, job.file.size, PIECE))
    streams = job.source.streams
    with Helpers() as helpers, ThreadPoolExecutor(streams, "vertebra-transfer") as pool:
        try:
            for start in _first(starts, streams + 1):
                waiting.append(pool.submit(_piece, arriving, start))
            while waiting:
                chunks = waiting.popleft().result()
                for start in _first(starts, 1):
                    waiting.append(pool.submit(_piece, arriving, start))
                arriving.write(*chunks, helpers=helpers)
            helpers.wait()
        except BaseException:
            arriving.stopped = True
            for future in waiting:
                future.cancel()
            raise


def _first(starts: Iterator[int], count: int) -> list[int]:
    return [start for _, start in zip(range(count), starts, strict=False)]


def _piece(arriving: Arriving, start: int) -> list[bytes]:
    """Returns one part, as it came: to join what is only hashed and written would cost more than both."""
    job = arriving.job
    stop = min(start + PIECE, job.file.size)
    chunks: list[bytes] = []
    failures = 0

    def attempt() -> None:
        nonlocal failures
        failures += 1
        place = begun = start + sum(map(len, chunks))
        pace = Pace(job.handle, job.file.name)
        with _answering(job), job.source.read(job.handle, job.file, place, stop) as content:
            _check(arriving, content, place)
            for chunk in content.chunks:
                if arriving.is_stopped():
                    raise Cancelled
                chunks.append(chunk[: stop - place])
                place += len(chunks[-1])
                if place == stop:
                    return
                pace.note(len(chunks[-1]))
                if place - begun >= PROGRESS:
                    failures = 0
        raise SourceUnavailableError(job.handle, f"{job.file.name} was cut short at {place:,} bytes")

    retrying(attempt, lambda: failures, arriving.is_stopped)
    return chunks


def retrying(
    attempt: Callable[[], T],
    failures: Callable[[], int],
    is_stopped: Callable[[], bool] = lambda: False,
    most: int = MOST_FAILURES,
) -> T:
    """Makes attempts until one succeeds, with longer and longer breaks, or those that the service asks for.

    Args:
        attempt: What may raise SourceUnavailableError.
        failures: Returns how many attempts have failed since there was progress.
        is_stopped: Ends the breaks.
        most: How many may fail.
    """
    from tenacity import RetryCallState, Retrying, before_sleep_log, retry_if_exception_type

    failed = 0

    def wait(state: RetryCallState) -> float:  # is asked before `is_enough`
        nonlocal failed
        failed = failures()
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None)
        usual = min(FIRST_WAIT * 2.0 ** max(failed - 1, 0), LONGEST_WAIT) + random.uniform(0, FIRST_WAIT)
        return usual if asked is None else asked

    def is_enough(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        return failed >= most or (getattr(error, "retry_after", None) or 0) > LONGEST_WAIT

    def sleep(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not is_stopped():
            time.sleep(min(left, _POLL))
        if is_stopped():
            raise Cancelled

    log = logging.getLogger("vertebra")
    return Retrying(
        wait=wait,
        stop=is_enough,
        retry=retry_if_exception_type(SourceUnavailableError),
        sleep=sleep,
        before_sleep=before_sleep_log(log, logging.DEBUG),
        reraise=True,
    )(attempt)
