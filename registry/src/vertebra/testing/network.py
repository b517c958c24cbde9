"""Network use in tests: records socket calls of this process, and requests to another host."""

from __future__ import annotations

import base64
import binascii
import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")
"""Python's audit events of requests."""
_ADDRESS = "http://{}:{}"
_CREDENTIALS = ("authorization", "proxy-authorization", "cookie")
"""Headers that another host must not get, with any value."""


@contextlib.contextmanager
def network() -> Iterator[list[str]]:
    """Yields a list of the socket events of this process; events inside the block are appended.

    Only Python's own sockets are recorded: for a client with other sockets, count the requests of the service.
    """
    global _watched
    if _watched is None:
        sys.addaudithook(_watch)  # an audit hook cannot be removed
    used: list[str] = []
    _watched = used
    try:
        yield used
    finally:
        _watched = []


_watched: list[str] | None = None


def _watch(event: str, *_: object) -> None:
    if event in EVENTS and _watched is not None:
        _watched.append(event)


@dataclass(slots=True)
class OtherHost:
    """A web server other than the service: it has no files, and records its requests."""

    url: str
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """The target of each request, and its headers by lower-case name."""

    def leaks(self, secret: str) -> list[str]:
        """Returns the leaks: headers for credentials, and targets and headers with the secret."""
        leaks = []
        for target, headers in self.requests:
            leaks += [target] if secret in unquote(target) else []
            leaks += [
                f"{name}: {value}" for name, value in headers.items() if name in _CREDENTIALS or _has(value, secret)
            ]
        return leaks


@contextlib.contextmanager
def other_host(host: str) -> Iterator[OtherHost]:
    """Runs a web server of another origin on the loopback interface, which asks for credentials, too.

    Args:
        host: Host name of its URL: `127.0.0.1` or `localhost`.
    """

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            headers = {name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers}
            server_log.requests.append((self.path, headers))
            self.send_response(401)
            self.send_header("WWW-Authenticate", f'Bearer realm="{server_log.url}/token",service="other"')
            self.send_header("WWW-Authenticate", 'Basic realm="other"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815 (names that the base class calls)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server_log = OtherHost(_ADDRESS.format(host, server.server_port))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server_log
        finally:
            server.shutdown()
            thread.join()


def _has(value: str, secret: str) -> bool:
    """Returns whether a header has a secret, as plain text or encoded as `Basic` does."""
    texts = [value, unquote(value)]
    for word in value.split():
        with contextlib.suppress(binascii.Error, ValueError):
            texts.append(base64.b64decode(word, validate=True).decode(errors="replace"))
    return any(secret in text for text in texts)
