"""For sources whose services speak HTTP: what an answer means, where it leads, and where files were found.

Requests are the plugin's own, by the client library of its service, and each answer is an `Answer`; for services
without such a library there is `get`.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from vertebra import redirects
from vertebra._cache.stall import StallDetector
from vertebra.errors import (
    IntegrityError,
    PresetAccessError,
    PresetError,
    PresetNotFoundError,
    SourceUnavailableError,
)
from vertebra.handles import PresetHandle
from vertebra.remote import ByteStream
from vertebra.specs import PresetFile

EXPIRED = (400, 401, 403, 404, 410)
"""What storage answers to an address whose signature has expired."""
_REDIRECTS = (301, 302, 303, 307, 308)
_TRANSIENT = (408, 425, 429)
_LONGEST_WAIT = 3600.0


# === Answers ===


class Answer(Iterator[bytes]):
    """An answer whose body has not been read: an iterator over it, as sent, that can be closed before it has begun."""

    url: str
    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    peer: object = None
    """Host and port of who answered, or None if that is not known."""

    @abstractmethod
    def close(self) -> None:
        """Gives up the rest of the body."""

    def finish(self) -> None:
        """Ends an answer that says nothing more, such as a redirect; what is short may be read instead."""
        self.close()


A = TypeVar("A", bound=Answer)


def whole(handle: PresetHandle, answer: Answer, most: int) -> bytes:
    """Reads a body to its end, and closes the answer.

    Args:
        handle: The preset.
        answer: What is no file, such as a listing.
        most: Bytes that it may have.

    Raises:
        SourceUnavailableError: it has more, or comes too slowly.
    """
    body, place = bytearray(), redirects.origin(answer.url)
    stall = StallDetector(handle, f"what {place} tells")
    with contextlib.closing(answer):
        for chunk in answer:
            body += chunk
            stall.note(len(chunk))
            if len(body) > most:
                raise SourceUnavailableError(handle, f"{place} sends a list without end")
    return bytes(body)


def follow(hops: redirects.Hops, url: str, ask: Callable[[str], A]) -> A:
    """Asks for what stands at an address, there or where it redirects to; the answer may have any other status.

    Args:
        hops: The way, which must not lead just anywhere.
        url: Where it begins.
        ask: Makes one request, and follows nothing. It is for this function to send credentials to the service alone.

    Raises:
        RedirectRefusedError: it leads where it must not.
    """
    while True:
        answer = ask(url)
        try:
            hops.check_peer(url, answer.peer)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            url = hops.next(url, answer.headers["location"])
        except BaseException:
            answer.close()
            raise
        answer.finish()


def get(
    handle: PresetHandle,
    endpoint: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    setting: str = "the source's endpoint",
    seconds: float = 30.0,
) -> Answer:
    """Sends a GET request by Python's own HTTP client, for sources without a client library, and follows redirects.

    Redirects are checked as by `follow`. Beyond the service, only headers that say what is asked for, such as `Range`,
    go along: no token, no cookie, and no header of the service's own. Proxies are those of the environment.

    Args:
        handle: The preset.
        endpoint: Address of the service. What `headers` say goes to its scheme, host and port alone.
        url: The address, encoded as addresses are.
        headers: Headers of the request.
        setting: What users set to name another endpoint, for messages.
        seconds: How long to wait for a connection, and for the next bytes.

    Returns:
        The answer, with any status but those of redirects.

    Raises:
        SourceUnavailableError: there is no answer.
        RedirectRefusedError: the way leads where it must not.
    """
    from vertebra import _http_client  # with all of HTTP; most sources bring a client of their own

    return _http_client.get(handle, endpoint, url, headers or {}, setting, seconds)


class Links:
    """Where files are that a service leads to, found once for all parts of each.

    Some of these addresses are signed, which is as good as a password: they stay in memory.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, str] = {}
        self._finding: dict[Hashable, threading.Lock] = {}
        self._failed: dict[Hashable, SourceUnavailableError] = {}
        """What the last look for a file ended with."""

    def open(self, key: Hashable, find: Callable[[], A], ask: Callable[[str], A]) -> A:
        """Begins to read a file where it was found; where it is no longer, it is found again.

        Args:
            key: Tells the file from others.
            find: Asks the service, and whatever it leads to.
            ask: Asks at an address where the file was found.
        """
        before = self._failed.get(key)
        with self._finding.setdefault(key, threading.Lock()):
            failed = self._failed.get(key)
            if failed is not None and failed is not before:
                raise failed  # while this thread waited, another one has found out
            known = self._known.get(key)
            if known is None:
                return self._find(key, find)
        try:
            answer = ask(known)
        except SourceUnavailableError:
            self._forget(key, known)  # where nobody answers, another address may
            raise
        if answer.status not in EXPIRED:
            return answer
        answer.close()
        self._forget(key, known)
        return self.open(key, find, ask)

    def _find(self, key: Hashable, find: Callable[[], A]) -> A:
        try:
            answer = find()
        except SourceUnavailableError as error:
            self._failed[key] = error
            raise
        if answer.status in (200, 206):
            self._known[key] = answer.url
        return answer

    def _forget(self, key: Hashable, known: str) -> None:
        with self._finding[key]:
            if self._known.get(key) == known:  # others may have found it again
                del self._known[key]


# === Files ===


def read(
    handle: PresetHandle,
    file: PresetFile,
    part: tuple[int, int | None],
    ask: Callable[[Mapping[str, str]], A],
    refused: Callable[[A], Exception],
    digest: Callable[[A], str | None] = lambda _: None,
) -> ByteStream:
    """Begins to transfer a file, or a part of it, for `RemoteSource.read`.

    Args:
        handle: The preset.
        file: The file.
        part: Position of the first byte, and of the one after the last, or None for the end.
        ask: Asks for the file with these headers.
        refused: Returns the error that an answer without the file means.
        digest: Returns what an answer says that the file hashes to.

    Raises:
        IntegrityError: the body is encoded, so that its bytes are not the file's.
    """
    answer = ask(range_header(*part))
    if answer.status == 416:  # the range is there, so it is ranges that this server has not
        answer.close()
        answer = ask({})
    try:
        if answer.status not in (200, 206):
            raise refused(answer)
        return content(handle, file.name, answer.status, answer.headers, answer, digest(answer))
    except BaseException:
        answer.close()
        raise


def content(
    handle: PresetHandle,
    name: str,
    status: int,
    headers: Mapping[str, str],
    chunks: Iterable[bytes],
    digest: str | None,
) -> ByteStream:
    """Reads an answer to a request for a file, or for a range of it.

    Args:
        handle: The preset.
        name: The file.
        status: Of the answer; errors are for `error`.
        headers: By lower-case name.
        chunks: The body.
        digest: What the file hashes to, if the service says so in its own way.

    Raises:
        IntegrityError: the body is encoded, so that its bytes are not the file's.
    """
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() not in ("identity", ""):
        raise IntegrityError(handle, name, f"it was sent as {encoding}, and asked for as it is")
    start, total = 0, _number(headers.get("content-length"))
    if status == 206:
        unit, _, place = headers.get("content-range", "").partition(" ")
        places, _, size = place.partition("/")
        first = _number(places.partition("-")[0])
        if unit.lower() != "bytes" or first is None:
            raise SourceUnavailableError(handle, f"it answered for a part of {name} without saying which")
        start, total = first, _number(size)
    return ByteStream(iter(chunks), start, total, headers.get("etag"), digest)


def range_header(start: int, stop: int | None) -> dict[str, str]:
    """Returns the header that asks for the bytes from `start` up to and without `stop`, or none for a whole file."""
    return {} if (start, stop) == (0, None) else {"range": f"bytes={start}-{'' if stop is None else stop - 1}"}


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isascii() and text.strip().isdigit() else None


# === Refusals ===


def error(handle: PresetHandle, status: int, headers: Mapping[str, str], reason: str = "") -> PresetError:
    """Returns the error that an HTTP status means, for services whose client does not say it better."""
    detail = f"HTTP {status}{f' ({reason})' if reason else ''}"
    if status in _TRANSIENT or status >= 500:
        return SourceUnavailableError(handle, detail, retry_after(headers.get("retry-after")))
    if status in (401, 403):
        return PresetAccessError(handle, detail, "Log in with a token that may read it, or ask its owner for access")
    if status in (404, 410):
        return PresetNotFoundError(handle, f"nothing is there ({detail})")
    return PresetError(
        f"Preset {str(handle)!r}: the service refused the request with {detail}. Check the handle, and that the "
        "endpoint is that of such a service."
    )


def unavailable(handle: PresetHandle, url: str, detail: str) -> SourceUnavailableError:
    """Returns the error for a request that got no whole answer; of the address it shows who should have answered.

    Args:
        handle: The preset.
        url: What was asked for.
        detail: Why there is no answer, without secrets.
    """
    way = " through the proxy that HTTPS_PROXY or another variable names" if redirects.by_proxy(url) else ""
    return SourceUnavailableError(handle, f"no whole answer from {redirects.origin(url)}{way} ({detail})")


def retry_after(value: str | None) -> float | None:
    """Returns the seconds that a `Retry-After` header asks to wait: a number, or a date; None if it says neither."""
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(value)
        return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_WAIT)
    import email.utils

    with contextlib.suppress(TypeError, ValueError):
        return min(max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0), _LONGEST_WAIT)
    return None
