"""Requests by Python's own HTTP client, for `vertebra.http.get`: redirects are checked, and credentials stay behind."""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Mapping
from typing import Any

from vertebra import http as web
from vertebra import redirects
from vertebra.handles import PresetHandle

_ALONG = frozenset(
    {"accept", "accept-encoding", "if-match", "if-modified-since", "if-none-match", "if-range", "range", "user-agent"}
)
"""Headers that say what is asked for. Any other may say who asks, and goes to the service alone."""
_MOST, _LONGEST_REASON = 2**16, 300


class Answer(web.Answer):
    """An answer of Python's client, which has not been read."""

    def __init__(self, handle: PresetHandle, response: http.client.HTTPResponse, url: str) -> None:
        self.url, self.status = url, response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.peer = getattr(response, "peer", None)
        self._handle, self._response = handle, response

    def __next__(self) -> bytes:
        try:
            chunk = self._response.read1(_MOST)
        except (OSError, http.client.HTTPException) as error:
            raise web.unavailable(self._handle, self.url, _reason(error)) from None
        if not chunk:
            self._check_end()
            raise StopIteration
        return chunk

    def _check_end(self) -> None:
        """Raises SourceUnavailableError if the connection was closed before all of the announced body had come."""
        missing = self._response.length  # None without a Content-Length; a chunk that is cut off raises an error
        if missing:
            detail = f"the connection was closed {missing:,} bytes before the end that Content-Length announced"
            raise web.unavailable(self._handle, self.url, detail)

    def close(self) -> None:
        self._response.close()


def get(
    handle: PresetHandle, endpoint: str, url: str, headers: Mapping[str, str], setting: str, seconds: float
) -> Answer:
    """Sends a GET request and follows redirects; `vertebra.http.get` documents it."""
    known = redirects.same_origin(url, endpoint)

    def ask(address: str) -> Answer:
        nonlocal known
        known = known and redirects.same_origin(address, endpoint)  # once it has left, it is not the user's again
        sent = {name: value for name, value in headers.items() if known or name.lower() in _ALONG}
        return _ask(handle, address, sent, seconds)

    return web.follow(redirects.Hops(handle, endpoint, url, setting), url, ask)


def _ask(handle: PresetHandle, url: str, headers: Mapping[str, str], seconds: float) -> Answer:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "vertebra", **headers})  # noqa: S310 (no file:)
        return Answer(handle, _opener(request.type).open(request, timeout=seconds), url)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise web.unavailable(handle, url, _reason(error)) from None


def _reason(error: Exception) -> str:
    """Returns why there is no answer, such as that the connection was refused.

    What cannot be sent at all may be a header with a secret, which the client's text would show.
    """
    cause = getattr(error, "reason", error)
    if isinstance(cause, ValueError | http.client.InvalidURL) and not isinstance(cause, OSError):  # as those of TLS are
        return f"{type(cause).__name__}: the address or a header cannot be sent"
    text = f"{type(cause).__name__}: {cause}" if isinstance(cause, Exception) else str(cause)
    return redirects.without_queries(text.removesuffix(": "))[:_LONGEST_REASON]


def _opener(scheme: str) -> urllib.request.OpenerDirector:
    """Returns a client that speaks HTTP alone, follows nothing, and answers with any status; by the proxies set now."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    by_proxy = urllib.request.ProxyHandler({scheme: proxy} if proxy else {})
    opener = urllib.request.OpenerDirector()
    for handler in (by_proxy, urllib.request.UnknownHandler(), _Plain(), _Secure()):
        opener.add_handler(handler)
    return opener


class _Peer:
    """Has a connection note who answers; a response closes the socket that would say so."""

    sock: Any
    peer: object = None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.peer = self.sock.getpeername()

    def getresponse(self) -> http.client.HTTPResponse:
        response: Any = super().getresponse()  # type: ignore[misc]
        response.peer = self.peer
        return response  # type: ignore[no-any-return]


class _PlainConnection(_Peer, http.client.HTTPConnection):
    pass


class _SecureConnection(_Peer, http.client.HTTPSConnection):
    pass


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PlainConnection, request)


class _Secure(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, request)
