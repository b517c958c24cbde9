"""The code of `vertebra.http` that uses urllib3, imported at the first request: connection pools and responses."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from vertebra.errors import RedirectRefusedError, exception_text
from vertebra.handles import PresetHandle
from vertebra.http.error_mapping import unavailable
from vertebra.http.origins import hide_queries, proxy_for, without_queries
from vertebra.http.redirects import RedirectPolicy
from vertebra.http.responses import Response
from vertebra.remote import require_client

_CONNECTIONS = 32
"""Connections that are kept for each host."""
_CHUNK, _LONGEST_REASON = 2**20, 300
_URL = re.compile(r"https?://[!-~]+", re.IGNORECASE)
_ERRORS = (HTTPError, http.client.HTTPException, OSError, ValueError)
_managers: dict[tuple[int, str | None, str | None], urllib3.PoolManager] = {}
"""Connection pools, by process, proxy and certificates: a forked process must not use its parent's connections."""


def send(
    handle: PresetHandle,
    request: tuple[str, str, bytes | Path | None],
    headers: Mapping[str, str],
    timeouts: tuple[float, float],
    certificates: str | None,
    policy: RedirectPolicy | None,
) -> Response:
    """Sends one request, given as method, URL and body; `vertebra.http.send` documents it."""
    method, url, body = request
    hide_queries("urllib3.connectionpool", "urllib3.util.retry")
    wanted = {"user-agent": "vertebra", **{name.lower(): value for name, value in headers.items()}}
    try:
        if not _URL.fullmatch(url):
            raise ValueError(url)
        with (
            _checking(policy, url),
            contextlib.nullcontext(body) if not isinstance(body, Path) else body.open("rb") as opened,
        ):
            response = _manager(proxy_for(url), certificates).request(
                method,
                url,
                body=opened,
                headers={**wanted, **_length(body), "accept-encoding": "identity"},
                timeout=urllib3.Timeout(*timeouts),
                preload_content=False,
                redirect=False,
                retries=False,
            )
    except _RefusedPeerError as error:
        raise error.refusal from None
    except _ERRORS as error:
        raise unavailable(handle, url, _reason(error)) from None
    return _Response(handle, response, url)


class _Response(Response):
    """A response of urllib3 whose body has not been read."""

    def __init__(self, handle: PresetHandle, response: urllib3.BaseHTTPResponse, url: str) -> None:
        self.url, self.status = url, response.status
        self.headers = {name.lower(): response.headers[name] for name in response.headers}  # joins repeated lines
        self.peer = getattr(response.connection, "peer", None)
        self._handle, self._response = handle, response

    def __next__(self) -> bytes:
        try:
            chunk = self._response.read1(
                _CHUNK, decode_content=False
            )  # returns the bytes that have arrived, without waiting for more
        except _ERRORS as error:
            raise unavailable(self._handle, self.url, _reason(error)) from None
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        self._response.close()


def _length(body: bytes | Path | None) -> dict[str, str]:
    """Returns the header with the size of a file; of bytes, urllib3 knows it, and would send a file in chunks."""
    return {"content-length": str(body.stat().st_size)} if isinstance(body, Path) else {}


def _reason(error: BaseException) -> str:
    """Returns why there is no complete response, such as that the connection was refused.

    Only messages of the operating system and of TLS are repeated: others may have a signed URL or a secret header.
    """
    cause = _root_cause(error)
    if isinstance(cause, http.client.IncompleteRead) and cause.expected:
        return f"the connection was closed {cause.expected:,} bytes before the end that Content-Length announced"
    if isinstance(cause, OSError):
        return without_queries(exception_text(cause))[:_LONGEST_REASON]
    if isinstance(cause, ValueError | http.client.InvalidURL):
        return f"{type(cause).__name__}: the URL or a header is not valid"
    return type(cause).__name__


def _root_cause(error: BaseException) -> BaseException:
    """Returns the error of the system, of TLS or of http.client that an error of urllib3 wraps, or the error itself."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError | http.client.HTTPException):
            return cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return error


# === Connections ===


def _manager(proxy: str | None, certificates: str | None) -> urllib3.PoolManager:
    """Returns the connection pools for a proxy and for trusted certificates."""
    key = os.getpid(), proxy, certificates
    if key not in _managers:
        options: dict[str, Any] = {"maxsize": _CONNECTIONS}
        if certificates is not None:
            options["ca_cert_dir" if Path(certificates).is_dir() else "ca_certs"] = certificates
        _managers[key] = _connect(proxy, options)
    return _managers[key]


def _connect(proxy: str | None, options: dict[str, Any]) -> urllib3.PoolManager:
    if proxy is None:
        manager = urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = {pool.scheme: pool for pool in (_PlainPool, _SecurePool)}
        return manager
    if proxy.lower().startswith("socks"):
        with require_client("servers behind a SOCKS proxy", "PySocks"):
            from urllib3.contrib.socks import SOCKSProxyManager
        return SOCKSProxyManager(proxy, **options)
    parts = urlsplit(proxy)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    return urllib3.ProxyManager(proxy, proxy_headers=urllib3.make_headers(proxy_basic_auth=login), **options)


_check: ContextVar[Callable[[object], None] | None] = ContextVar("check of the peer", default=None)
"""Checks the peer of the request that this thread sends."""


class _RefusedPeerError(Exception):
    """An error of `RedirectPolicy.check_peer` on its way through urllib3, which wraps errors of the system."""

    def __init__(self, refusal: RedirectRefusedError) -> None:
        super().__init__()
        self.refusal = refusal


@contextlib.contextmanager
def _checking(policy: RedirectPolicy | None, url: str) -> Iterator[None]:
    token = _check.set(None if policy is None else partial(policy.check_peer, url))
    try:
        yield
    finally:
        _check.reset(token)


class _PlainConnection(HTTPConnection):
    """A connection that keeps the address of its peer, and sends nothing before the address is checked."""

    peer: object = None

    def connect(self) -> None:
        super().connect()
        self.peer = self.sock.getpeername()

    def request(self, *arguments: Any, **options: Any) -> None:
        _check_peer(self)
        super().request(*arguments, **options)


class _SecureConnection(HTTPSConnection):
    """The same, encrypted."""

    peer: object = None

    def connect(self) -> None:
        super().connect()
        self.peer = self.sock.getpeername()

    def request(self, *arguments: Any, **options: Any) -> None:
        _check_peer(self)
        super().request(*arguments, **options)


def _check_peer(connection: _PlainConnection | _SecureConnection) -> None:
    check = _check.get()
    if check is None:
        return
    if connection.is_closed:
        connection.connect()
    try:
        check(connection.peer)
    except RedirectRefusedError as refusal:
        raise _RefusedPeerError(refusal) from None


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
