"""Transferring one file: from where a source starts to give its bytes to a complete file whose content was checked."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from vertebra._cache.partial_file import PROGRESS, Job, PartialFile, WriterThreads
from vertebra._cache.retry import CancelledError, retry
from vertebra._cache.stall import StallDetector
from vertebra.errors import IntegrityError, SourceUnavailableError, VertebraError
from vertebra.remote import ByteStream

RANGE = 8 * 2**20
"""Bytes of a part that is transferred at once with others; of those, `streams` and about four more are in memory."""


class _ChangedError(Exception):
    """What arrives does not continue what has arrived: the file must be transferred from its beginning."""


class _NoRangesError(_ChangedError):
    """A source has only whole files to give."""


class _UnverifiableError(Exception):
    """Nothing says whether what another process left is as it had arrived: its disk may have lost the end."""


def download(partial_file: PartialFile) -> str:
    """Transfers what is missing of a file and returns its SHA-256.

    What stops halfway is continued; what turns out wrong is transferred once more from its beginning.

    Raises:
        IntegrityError: the content is not what was promised.
        SourceUnavailableError: the source failed again and again.
        PresetNotFoundError, PresetAccessError: as the source says.
    """
    while True:
        try:
            _complete(partial_file)
            return partial_file.finish()
        except _UnverifiableError:
            partial_file.restart()
        except (IntegrityError, _ChangedError) as error:
            partial_file.restart()
            partial_file.restarts += 1
            if partial_file.restarts > 1:
                if isinstance(error, _NoRangesError):
                    raise SourceUnavailableError(partial_file.job.handle, str(error)) from error
                raise (
                    error if isinstance(error, IntegrityError) else partial_file.integrity_error(str(error))
                ) from error


def _complete(partial_file: PartialFile) -> None:
    job = partial_file.job
    if job.file.size - partial_file.size > 2 * RANGE and job.source.streams > 1 and partial_file.restarts == 0:
        _in_ranges(partial_file)  # what was refused is transferred in one piece: perhaps ranges are what goes wrong
    else:
        retry(lambda: _in_one_stream(partial_file), lambda: partial_file.failures, partial_file.is_stopped)


def _in_one_stream(partial_file: PartialFile) -> None:
    """Transfers the rest of a file through one answer."""
    job = partial_file.job
    if partial_file.size == job.file.size and partial_file.size:
        return
    partial_file.fail_unless_it_arrives()
    stall = StallDetector(job.handle, job.file.name)
    with _translate_connection_errors(job), job.source.read(job.handle, job.file, partial_file.size) as content:
        _check(partial_file, content, partial_file.size)
        for chunk in content.chunks:
            partial_file.write(chunk)
            if partial_file.size < job.file.size:
                stall.note(len(chunk))
    if partial_file.size < job.file.size:
        raise SourceUnavailableError(job.handle, f"{job.file.name} was cut short at {partial_file.size:,} bytes")


@contextlib.contextmanager
def _translate_connection_errors(job: Job) -> Iterator[None]:
    """A connection that breaks is what may pass, whichever way a client's library says so."""
    try:
        yield
    except VertebraError:
        raise
    except OSError as error:
        words = f": {error.strerror}" if error.strerror else ""  # whatever else it says may hold a signed address
        raise SourceUnavailableError(job.handle, f"{type(error).__name__}{words}") from None


def _check(partial_file: PartialFile, content: ByteStream, start: int) -> None:
    """Compares what an answer says of itself with what was asked for, and with the answers before."""
    size = partial_file.job.file.size
    if content.total not in (None, size):
        raise partial_file.integrity_error(f"{content.total:,} bytes were sent, and it should have {size:,}")
    if content.start == 0 < start:
        name = partial_file.job.file.name
        raise _NoRangesError(f"{name} breaks off again and again, and can only be had from its beginning")
    if content.start != start:
        raise _ChangedError(f"it was sent from byte {content.start:,}, and asked for from {start:,}")
    if partial_file.etag is not None and content.etag not in (None, partial_file.etag):
        raise _ChangedError("it changed while it was transferred")
    partial_file.etag = content.etag or partial_file.etag
    partial_file.expect_digest(content.digest)
    if partial_file.claimed and not partial_file.has_expected_digest:
        raise _UnverifiableError


def _in_ranges(partial_file: PartialFile) -> None:
    """Transfers the rest in parts, several at once; they are taken up in order, so that what there is has no gaps."""
    job = partial_file.job
    waiting: deque[Future[list[bytes]]] = deque()
    starts = iter(range(partial_file.size, job.file.size, RANGE))
    streams = job.source.streams
    with WriterThreads() as writers, ThreadPoolExecutor(streams, "vertebra-transfer") as pool:
        try:
            for start in _first(starts, streams + 1):
                waiting.append(pool.submit(_range, partial_file, start))
            while waiting:
                chunks = waiting.popleft().result()
                for start in _first(starts, 1):
                    waiting.append(pool.submit(_range, partial_file, start))
                partial_file.write(*chunks, writers=writers)
            writers.wait()
        except BaseException:
            partial_file.stopped = True
            for future in waiting:
                future.cancel()
            raise


def _first(starts: Iterator[int], count: int) -> list[int]:
    return [start for _, start in zip(range(count), starts, strict=False)]


def _range(partial_file: PartialFile, start: int) -> list[bytes]:
    """Returns one part, as it came: to join what is only hashed and written would cost more than both."""
    job = partial_file.job
    stop = min(start + RANGE, job.file.size)
    chunks: list[bytes] = []
    failures = 0

    def attempt() -> None:
        nonlocal failures
        failures += 1
        place = begun = start + sum(map(len, chunks))
        stall = StallDetector(job.handle, job.file.name)
        with _translate_connection_errors(job), job.source.read(job.handle, job.file, place, stop) as content:
            _check(partial_file, content, place)
            for chunk in content.chunks:
                if partial_file.is_stopped():
                    raise CancelledError
                chunks.append(chunk[: stop - place])
                place += len(chunks[-1])
                if place == stop:
                    return
                stall.note(len(chunks[-1]))
                if place - begun >= PROGRESS:
                    failures = 0
        raise SourceUnavailableError(job.handle, f"{job.file.name} was cut short at {place:,} bytes")

    retry(attempt, lambda: failures, partial_file.is_stopped)
    return chunks
