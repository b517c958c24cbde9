"""Responses whose bodies arrive in chunks, and functions that read them: a file list as bytes, a file as a stream."""

from __future__ import annotations

import contextlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from vertebra._cache.transfer.stall import StallDetector
from vertebra._system.strict_json import check_parts
from vertebra.errors import IntegrityError, SourceUnavailableError
from vertebra.handles import PresetHandle
from vertebra.http.origins import origin
from vertebra.remote import ByteStream
from vertebra.specs import PresetFile


class Response(Iterator[bytes]):
    """A response whose body has not been read: an iterator over the chunks of the body; can be closed at any time."""

    url: str
    """The URL that was requested, after all redirects."""
    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    peer: object = None
    """Host and port at the other end of the connection, or None if unknown."""

    @abstractmethod
    def close(self) -> None:
        """Ends the transfer; the rest of the body is lost."""

    def finish(self) -> None:
        """Ends a response whose body does not matter, such as a redirect; a short body may be read instead."""
        self.close()


R = TypeVar("R", bound=Response)


def read_all(handle: PresetHandle, response: Response, most: int) -> bytes:
    """Reads a body to its end, and closes the response.

    Args:
        handle: The preset.
        response: A response with a document, such as a file list.
        most: The largest number of bytes allowed.

    Raises:
        SourceUnavailableError: the body has more bytes, or arrives too slowly.
    """
    body, server = bytearray(), origin(response.url)
    stall = StallDetector(handle, f"the response of {server}")
    with contextlib.closing(response):
        for chunk in response:
            body += chunk
            stall.record(len(chunk))
            if len(body) > most:
                raise SourceUnavailableError(
                    handle, f"{server} sent a document that is too long: more than {most:,} bytes"
                )
    return bytes(body)


def read_json(handle: PresetHandle, response: Response, most: int = 2**20) -> Any:
    """Reads a body to its end as a JSON document, and closes the response.

    Args:
        handle: The preset.
        response: A response with a document, such as a file list.
        most: The largest number of bytes allowed.

    Raises:
        SourceUnavailableError: the body is not JSON, such as the HTML of a login page, too large, cut off, or of more
            than 1,500,000 values.
    """

    def failure(problem: str) -> SourceUnavailableError:
        return SourceUnavailableError(handle, f"{origin(response.url)} {problem}")

    kind = response.headers.get("content-type", "").partition(";")[0] or "no content type"
    data = read_all(handle, response, most)
    check_parts(data, lambda problem: failure(f"sent a document that is too long: {problem}"))
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        problem = f"sent no valid JSON but {kind[:40]!r}; the response may be of a proxy or login page"
        raise failure(problem) from None


def read(
    handle: PresetHandle,
    file: PresetFile,
    byte_range: tuple[int, int | None],
    send: Callable[[Mapping[str, str]], R],
    error: Callable[[R], Exception],
    digest: Callable[[R], str | None] = lambda _: None,
) -> ByteStream:
    """Starts the download of a file, or of a range of it, for `RemoteSource.read`.

    Args:
        handle: The preset.
        file: The file.
        byte_range: Position of the first byte, and of the one after the last, or None for the end.
        send: Requests the file with the given headers.
        error: Returns the error that a response without the file means.
        digest: Returns the digest of the whole file, if the response has one in the service's own header.

    Raises:
        IntegrityError: the body is compressed, so that its bytes are not the file's.
    """
    response = send(range_header(*byte_range))
    if response.status == 416:  # the file has this range, so the server does not support ranges
        response.close()
        response = send({})
    try:
        if response.status not in (200, 206):
            raise error(response)
        return byte_stream(handle, file.name, response.status, response.headers, response, digest(response))
    except BaseException:
        response.close()
        raise


def byte_stream(
    handle: PresetHandle,
    name: str,
    status: int,
    headers: Mapping[str, str],
    chunks: Iterable[bytes],
    digest: str | None,
) -> ByteStream:
    """Returns the stream of a successful response to a request for a file, or for a range of it.

    Args:
        handle: The preset.
        name: The file's name.
        status: 200 or 206.
        headers: By lower-case name.
        chunks: The body.
        digest: Digest of the whole file, if the service sends one.

    Raises:
        IntegrityError: the body is compressed, so that its bytes are not the file's.
        SourceUnavailableError: the response has a range of the file, but not its position.
    """
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() not in ("identity", ""):
        raise IntegrityError(handle, name, f"it was sent with the encoding {encoding}, but requested without one")
    start, total = 0, _number(headers.get("content-length"))
    if status == 206:
        unit, _, content_range = headers.get("content-range", "").partition(" ")
        positions, _, size = content_range.partition("/")
        first = _number(positions.partition("-")[0])
        if unit.lower() != "bytes" or first is None:
            raise SourceUnavailableError(handle, f"it sent a range of {name} without its position")
        start, total = first, _number(size)
    return ByteStream(iter(chunks), start, total, headers.get("etag"), digest)


def range_header(start: int, stop: int | None) -> dict[str, str]:
    """Returns the header that requests the bytes from `start` up to and without `stop`; none for a whole file."""
    return {} if (start, stop) == (0, None) else {"range": f"bytes={start}-{'' if stop is None else stop - 1}"}


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isascii() and text.strip().isdigit() else None
