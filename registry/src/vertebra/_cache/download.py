"""Transferring one file: from where a source starts to give its bytes to a complete file whose content was checked."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from vertebra._cache.partial_file import PROGRESS, Arriving, Helpers, Job
from vertebra._cache.retry import Cancelled, retrying
from vertebra._cache.stall import Pace
from vertebra.errors import IntegrityError, SourceUnavailableError, VertebraError
from vertebra.remote import ByteStream

PIECE = 8 * 2**20
"""Bytes of a part that is transferred at once with others; of those, `streams` and about four more are in memory."""


class _ChangedError(Exception):
    """What arrives does not continue what has arrived: the file must be transferred from its beginning."""


class _NoPartsError(_ChangedError):
    """A source has only whole files to give."""


class _UnverifiableError(Exception):
    """Nothing says whether what another process left is as it had arrived: its disk may have lost the end."""


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


def _check(arriving: Arriving, content: ByteStream, start: int) -> None:
    """Compares what an answer says of itself with what was asked for, and with the answers before."""
    size = arriving.job.file.size
    if content.total not in (None, size):
        raise arriving.refused(f"{content.total:,} bytes were sent, and it should have {size:,}")
    if content.start == 0 < start:
        name = arriving.job.file.name
        raise _NoPartsError(f"{name} breaks off again and again, and can only be had from its beginning")
    if content.start != start:
        raise _ChangedError(f"it was sent from byte {content.start:,}, and asked for from {start:,}")
    if arriving.etag is not None and content.etag not in (None, arriving.etag):
        raise _ChangedError("it changed while it was transferred")
    arriving.etag = content.etag or arriving.etag
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
