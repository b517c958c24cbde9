"""What leaves this process in tests: whether anything does, and what another host is told."""

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

_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")
_ADDRESS = "http://{}:{}"
_CREDENTIALS = ("authorization", "proxy-authorization", "cookie")
"""Headers that no other host should get, whatever they hold."""


@contextlib.contextmanager
def network() -> Iterator[list[str]]:
    """Yields a list of what this process does with the network, as long as it is not left.

    Python tells of its own sockets only: for a client that has others, count the requests of the service.
    """
    global _watched
    if _watched is None:
        sys.addaudithook(_watch)  # there is no way to take it off again
    used: list[str] = []
    _watched = used
    try:
        yield used
    finally:
        _watched = []


_watched: list[str] | None = None


def _watch(event: str, *_: object) -> None:
    if event in _NETWORK and _watched is not None:
        _watched.append(event)


@dataclass(slots=True)
class Stranger:
    """A web server that is not the service: it has nothing, and remembers what it was told."""

    url: str
    told: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """The target of each request, and its headers by lower-case name."""

    def learned(self, secret: str) -> list[str]:
        """Returns what it should not have been told: headers that carry credentials, and whatever has the secret."""
        found = []
        for target, headers in self.told:
            found += [target] if secret in unquote(target) else []
            found += [
                f"{name}: {value}" for name, value in headers.items() if name in _CREDENTIALS or _has(value, secret)
            ]
        return found


@contextlib.contextmanager
def stranger(host: str) -> Iterator[Stranger]:
    """Runs a server of another origin on the loopback interface.

    Args:
        host: The name that it goes by: `127.0.0.1` or `localhost`.
    """

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            headers = {name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers}
            found.told.append((self.path, headers))
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815 (names that the base class calls)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Stranger(_ADDRESS.format(host, server.server_port))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def _has(value: str, secret: str) -> bool:
    """Returns whether a header has a secret, as it is, or encoded as `Basic` does."""
    texts = [value, unquote(value)]
    for word in value.split():
        with contextlib.suppress(binascii.Error, ValueError):
            texts.append(base64.b64decode(word, validate=True).decode(errors="replace"))
    return any(secret in text for text in texts)
