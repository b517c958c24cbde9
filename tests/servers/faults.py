"""All that can go wrong with an answer, for every server.

    server.faults = [faults.cut(0.5, files="*.safetensors", times=1), faults.changing_etag()]

Each function below makes a `Fault`. The keywords that all of them take say when it strikes:

    files    glob of names of files whose content is the answer ("*": any of them)
    paths    instead of files, glob of the paths of requests, to strike what is no file: "/api/*"
    methods  of the requests that it strikes; ("GET",) if not given
    ranged   True for requests with a Range only, False for those without one only
    times    how many requests it strikes; None, if not given, for all

All faults that fit a request strike it, in order, up to the first that answers in place of the server (`status`,
`html_page`, `redirect…`, `reset`): several of these, each with `times`, are struck one after the other. One that is
bound to `paths` strikes before the request has done anything.
"""

import fnmatch
import gzip as gzip_format
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

from servers.messages import Content, Position, Request, Response

Effect = Callable[[Request, Response], Response]


@dataclass(frozen=True, eq=False)
class Fault:
    """Something that goes wrong, and when it does."""

    name: str
    effect: Effect = field(repr=False)
    files: str = "*"
    paths: str | None = None
    methods: tuple[str, ...] = ("GET",)
    ranged: bool | None = None
    times: int | None = None
    answers: bool = False
    """Whether it answers in place of the server."""

    def __str__(self) -> str:
        return self.name

    def fits(self, request: Request, file: str | None) -> bool:
        """Whether it strikes a request: for a file if a name is given, else for its path."""
        if request.method not in self.methods or self.ranged not in (None, "range" in request.headers):
            return False
        if file is None:
            return self.paths is not None and fnmatch.fnmatchcase(request.path, self.paths)
        return self.paths is None and fnmatch.fnmatchcase(file, self.files)


class FaultPlan(list[Fault]):
    """The faults of a server, or of several that share them; counts how often each has struck."""

    def __init__(self, faults=()) -> None:
        super().__init__(faults)
        self._lock = threading.Lock()
        self._struck: Counter[Fault] = Counter()

    def struck(self, fault: Fault) -> int:
        """Returns how many requests a fault has struck."""
        with self._lock:
            return self._struck[fault]

    def take(self, request: Request, file: str | None = None) -> list[Fault]:
        """Returns the faults that strike a request, which counts for them; `file` is the file that would answer it."""
        taken: list[Fault] = []
        with self._lock:
            for fault in self:
                spent = fault.times is not None and self._struck[fault] >= fault.times
                if not spent and fault.fits(request, file):
                    self._struck[fault] += 1
                    taken.append(fault)
                    if fault.answers:
                        break
        return taken


def strike(faults: list[Fault], request: Request, response: Response) -> Response:
    """Returns what becomes of a response under faults."""
    for fault in faults:
        response = fault.effect(request, response)
    return response


# === Other content ===


def flip_bit(offset: int = 0, bit: int = 0, **when: Any) -> Fault:
    """One bit of the file is wrong, at an offset that may count from the end."""

    def effect(_: Request, response: Response) -> Response:
        place = offset % len(response.content)
        [byte] = bytes(response.content[place : place + 1])
        return replace(response, content=response.content.replaced(place, bytes([byte ^ (1 << bit)])))

    return Fault(f"bit flipped at {offset}", effect, **when)


def zero_tail(size: int = 4096, **when: Any) -> Fault:
    """The end of the file is zeros, as a crash of the storage leaves it."""

    def effect(_: Request, response: Response) -> Response:
        zeros = min(size, len(response.content))
        kept = response.content[: len(response.content) - zeros]
        return replace(response, content=kept + Content.of(bytes(zeros)))

    return Fault(f"{size} zeros at the end", effect, **when)


def other_content(content: bytes | None = None, **when: Any) -> Fault:
    """Another content, such as that of a previous version; some bytes of the same size if none is given."""

    def effect(_: Request, response: Response) -> Response:
        size = len(response.content)
        other = (b"previous" * (size // 8 + 1))[:size] if content is None else content
        return replace(response, content=Content.of(other))

    return Fault("other content", effect, **when)


def html_page(**when: Any) -> Fault:
    """A page to log in at, with status 200, as captive portals answer."""
    page = Content.of(b"<!DOCTYPE html>\n<html><title>Log in</title><form method=post></form></html>\n")
    response = Response(200, {"Content-Type": "text/html; charset=utf-8"}, page)
    return Fault("HTML page", lambda *_: response, answers=True, **when)


# === Wrong about the size ===


def cut(after: Position = 0.5, **when: Any) -> Fault:
    """The connection is closed after some bytes (an int; -1: all but one) or a share (a float) of the body."""
    return Fault(f"cut after {after}", lambda _, response: response.sent(end=after), **when)


def length_lie(difference: int, **when: Any) -> Fault:
    """Content-Length says more, or if negative less, than there is."""
    return Fault(f"length {difference:+}", lambda _, response: response.sent(length_lie=difference), **when)


def chunked(**when: Any) -> Fault:
    """No Content-Length: the body comes in chunks. No error, but a client must not need the length."""
    return Fault("chunked", lambda _, response: response.sent(chunked=True), **when)


def gzip(**when: Any) -> Fault:
    """The whole file, whatever range was asked for, is encoded with gzip, whether or not the client accepts that."""

    def effect(_: Request, response: Response) -> Response:
        encoded = Content.of(gzip_format.compress(bytes(response.content), compresslevel=1))
        return replace(response.with_headers(Content_Encoding="gzip"), content=encoded, accepts_ranges=False)

    return Fault("gzip", effect, **when)


# === No answer, or a late one ===


def reset(after: Position | None = None, **when: Any) -> Fault:
    """The connection is reset, before the answer or after some bytes or a share of the body."""
    if after is None:
        return Fault("reset", lambda *_: Response().sent(answered=False, reset=True), answers=True, **when)
    return Fault(f"reset after {after}", lambda _, response: response.sent(end=after, reset=True), **when)


def stall(seconds: float, at: Position | None = 0.5, **when: Any) -> Fault:
    """Nothing comes for a while, in the middle of the body, or before the answer if `at` is None."""
    return Fault(
        f"stalled for {seconds} s", lambda _, response: response.sent(stall_at=at, stall_seconds=seconds), **when
    )


def slow(bytes_per_second: float, **when: Any) -> Fault:
    """The body comes slowly."""
    return Fault(f"{bytes_per_second} B/s", lambda _, response: response.sent(rate=bytes_per_second), **when)


# === Refusals ===


def status(code: int, retry_after: int | str | None = None, **when: Any) -> Fault:
    """An error of the server; `retry_after` is its Retry-After, in seconds or as a text (see `http_date`)."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    response = Response.json({"error": f"status {code} on purpose"}, code, headers)
    name = f"status {code}" if retry_after is None else f"status {code}, retry after {retry_after}"
    return Fault(name, lambda *_: response, answers=True, **when)


def http_date(seconds: float) -> str:
    """Returns the date of so many seconds from now, as HTTP writes it."""
    return formatdate(time.time() + seconds, usegmt=True)


# === Wrong about ranges ===


def range_ignored(**when: Any) -> Fault:
    """The whole file is sent, with status 200, whatever range was asked for."""
    return Fault("range ignored", lambda _, response: replace(response, accepts_ranges=False), **when)


def range_shifted(by: int, lie: bool = False, **when: Any) -> Fault:
    """Status 206 with a range that starts so many bytes too late; Content-Range says so unless it is a lie."""
    name = f"range shifted by {by}{', unsaid' if lie else ''}"
    return Fault(name, lambda _, response: replace(response, range_shift=by, range_lie=lie), **when)


def range_refused(**when: Any) -> Fault:
    """Status 416 to every request for a range."""

    def effect(_: Request, response: Response) -> Response:
        return Response.json({"error": "no range"}, 416, {"Content-Range": f"bytes */{len(response.content)}"})

    return Fault("status 416", effect, answers=True, **{"ranged": True, **when})


def changing_etag(**when: Any) -> Fault:
    """Every answer has another ETag, as if the file changed all the time."""
    return Fault("changing ETag", lambda _, response: response.with_headers(ETag=f'"{uuid.uuid4().hex}"'), **when)


# === Redirects ===


def redirect(location: str, **when: Any) -> Fault:
    """A redirect to a URL of any kind."""
    return Fault(f"redirect to {location}", lambda *_: Response.redirect(location), answers=True, **when)


def redirect_origin(origin: str, **when: Any) -> Fault:
    """A redirect to the same path of another server, whose `url` is given."""
    return Fault(
        f"redirect to {origin}", lambda request, _: Response.redirect(origin + request.target), answers=True, **when
    )


def redirect_loop(**when: Any) -> Fault:
    """A redirect to itself."""
    return Fault("redirect loop", lambda request, _: Response.redirect(request.target), answers=True, **when)


def redirect_hops(hops: int, **when: Any) -> Fault:
    """So many redirects, and then the answer."""

    def effect(request: Request, response: Response) -> Response:
        hop = int(request.query.get("hop", 0))
        if hop == hops:
            return response
        return Response.redirect(f"{request.path}?{urlencode({**request.query, 'hop': hop + 1})}")

    return Fault(f"{hops} redirects", effect, **when)
