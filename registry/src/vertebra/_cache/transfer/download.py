"""Downloading one file: from the source's byte streams to a complete, verified file."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from vertebra._cache.transfer.partial_file import PROGRESS, DownloadJob, PartialFile, WriterThreads
from vertebra._cache.transfer.retry import CancelledError, retry
from vertebra._cache.transfer.returned import stream_of
from vertebra._cache.transfer.stall import StallDetector
from vertebra.errors import IntegrityError, SourceUnavailableError, VertebraError
from vertebra.remote import ByteStream

FIRST_RANGE, RANGE = 2**20, 8 * 2**20
"""Bytes of the first ranges and of the largest; several are downloaded at once, and `streams` plus about four are in
memory. Ranges grow as long as each takes less than `_LONGEST` seconds: on a slow connection they stay small, so that an
interrupted download has little to fetch again."""
_LONGEST = 1.0


class _ChangedError(Exception):
    """The new bytes do not continue the partial download: the file must be downloaded from its beginning."""


class _NoRangesError(_ChangedError):
    """A source does not serve ranges."""


class _UnverifiableError(Exception):
    """A claimed partial download has no expected digest: its last bytes may be lost if its machine crashed."""


def download(partial_file: PartialFile) -> str:
    """Downloads the missing bytes of a file and returns its SHA-256.

    A download that stops is resumed; a download that fails verification is repeated once from its beginning.

    Raises:
        IntegrityError: the bytes do not match the expected size or digest.
        SourceUnavailableError: the source failed too often in a row.
        PresetNotFoundError, PresetAccessError: as the source raises them.
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
    streams = job.source.streams if job.source.supports_ranges else 1
    if job.file.size - partial_file.size > 2 * RANGE and streams > 1 and partial_file.restarts == 0:
        _in_ranges(partial_file)  # after a failed verification, one stream: ranges may be the cause
    else:
        retry(lambda: _in_one_stream(partial_file), lambda: partial_file.failures, partial_file.is_stopped)


def _in_one_stream(partial_file: PartialFile) -> None:
    """Downloads the rest of a file in one stream."""
    job = partial_file.job
    if partial_file.size == job.file.size and partial_file.size:
        return
    partial_file.count_attempt()
    stall = StallDetector(job.handle, job.file.name)
    with _translate_connection_errors(job), stream_of(job.source, job.handle, job.file, partial_file.size) as stream:
        _check(partial_file, stream, partial_file.size)
        for chunk in stream.chunks:
            partial_file.write(chunk)
            partial_file.receive(len(chunk))
            if partial_file.size < job.file.size:
                stall.record(len(chunk))
    if partial_file.size < job.file.size:
        raise SourceUnavailableError(job.handle, f"{job.file.name} was cut short at {partial_file.size:,} bytes")


@contextlib.contextmanager
def _translate_connection_errors(job: DownloadJob) -> Iterator[None]:
    """Maps the connection errors of any client library to SourceUnavailableError, so that they are retried."""
    try:
        yield
    except VertebraError:
        raise
    except OSError as error:
        reason = f": {error.strerror}" if error.strerror else ""  # its other text may have a signed URL
        raise SourceUnavailableError(job.handle, f"{type(error).__name__}{reason}") from None


def _check(partial_file: PartialFile, stream: ByteStream, start: int) -> None:
    """Compares a response with the request and with earlier responses for the same file."""
    size = partial_file.job.file.size
    if stream.total not in (None, size):
        raise partial_file.integrity_error(f"{stream.total:,} bytes were sent, expected {size:,}")
    if stream.start == 0 < start:
        name = partial_file.job.file.name
        raise _NoRangesError(f"{name} is cut off repeatedly, and the source cannot send it from a later byte")
    if stream.start != start:
        raise _ChangedError(f"it was sent from byte {stream.start:,}, but requested from byte {start:,}")
    if partial_file.etag is not None and stream.etag not in (None, partial_file.etag):
        raise _ChangedError("it changed during the download")
    partial_file.etag = stream.etag or partial_file.etag
    partial_file.expect_digest(stream.digest)
    if partial_file.claimed and not partial_file.has_expected_digest:
        raise _UnverifiableError


@dataclass(slots=True)
class _Range:
    """A range of a file that one stream downloads."""

    start: int
    stop: int
    chunks: list[bytes] = field(default_factory=list)
    """The bytes that arrived; joining them would cost more time than hashing and writing them."""

    @property
    def position(self) -> int:
        """The offset of the next byte."""
        return self.start + sum(map(len, self.chunks))


def _in_ranges(partial_file: PartialFile) -> None:
    """Downloads the rest in ranges, several at once; they are written in order, so the partial file has no gaps."""
    pending: deque[_Range] = deque()
    with WriterThreads() as writers:
        try:
            _transfer_ranges(partial_file, pending, writers)
        except BaseException:
            with contextlib.suppress(Exception):  # such as a full disk, which is the error already
                writers.wait()
                for arrived in _without_gap(pending):
                    partial_file.keep(*arrived.chunks)
            raise


def _transfer_ranges(partial_file: PartialFile, pending: deque[_Range], writers: WriterThreads) -> None:
    """Downloads and writes ranges; after an error, `pending` has those that were begun and not written, in order."""
    job = partial_file.job
    streams, size, next_start = job.source.streams, min(FIRST_RANGE, RANGE), partial_file.size
    with ThreadPoolExecutor(streams, "vertebra-transfer") as pool:
        futures: deque[Future[float]] = deque()
        try:
            while pending or next_start < job.file.size:
                while len(pending) < streams + 2 and next_start < job.file.size:
                    pending.append(_Range(next_start, min(next_start + size, job.file.size)))
                    futures.append(pool.submit(_transfer_range, partial_file, pending[-1]))
                    next_start = pending[-1].stop
                seconds = futures[0].result()
                size = min(2 * size, RANGE) if seconds < _LONGEST else max(size // 2, min(FIRST_RANGE, RANGE))
                partial_file.write(*pending[0].chunks, writers=writers)
                pending.popleft()
                futures.popleft()
            writers.wait()
        except BaseException:
            partial_file.stopped = True
            for future in futures:
                future.cancel()
            raise


def _without_gap(pending: Iterable[_Range]) -> Iterator[_Range]:
    """Yields the ranges that continue a file, up to the first that is not complete."""
    for part in pending:
        yield part
        if part.position < part.stop:
            return


def _transfer_range(partial_file: PartialFile, part: _Range) -> float:
    """Downloads one range, and returns the seconds that it took."""
    job = partial_file.job
    failures, began = 0, time.monotonic()

    def attempt() -> None:
        nonlocal failures
        failures += 1
        position = begun = part.position
        stall = StallDetector(job.handle, job.file.name)
        with (
            _translate_connection_errors(job),
            stream_of(job.source, job.handle, job.file, position, part.stop) as stream,
        ):
            _check(partial_file, stream, position)
            for chunk in stream.chunks:
                if partial_file.is_stopped():
                    raise CancelledError
                part.chunks.append(chunk[: part.stop - position])
                size = len(part.chunks[-1])
                partial_file.receive(size)
                position += size
                if position == part.stop:
                    return
                stall.record(size)
                if position - begun >= PROGRESS:
                    failures = 0
        raise SourceUnavailableError(job.handle, f"{job.file.name} was cut short at {position:,} bytes")

    retry(attempt, lambda: failures, partial_file.is_stopped)
    return time.monotonic() - began
