"""Connections of the HTTP library, and nothing else, so that it is imported when something is asked for.

They are given up when nothing comes, and remember who answers.
"""

from __future__ import annotations

from typing import Any

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from vertebra import redirects


class ElsewhereError(Exception):
    """An answer that leads to another place, where nothing has been asked for yet."""

    def __init__(self, url: str, location: str) -> None:
        self.url, self.location = url, location
        super().__init__()


class PatientAdapter(HTTPAdapter):
    """Connections that wait for some time and not for ever.

    Args:
        waits: Seconds to wait for a connection, and for the next bytes.
    """

    def __init__(self, waits: tuple[float, float]) -> None:
        self._waits = waits
        super().__init__(pool_maxsize=32)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:
        return super().send(request, *arguments, **{**options, "timeout": self._waits})


class ApiAdapter(PatientAdapter):
    """Connections that do not follow where an answer leads: the client would take the user's token along.

    Args:
        waits: As above.
        anonymous: Whether the client's credentials are left out.
    """

    def __init__(self, waits: tuple[float, float], anonymous: bool) -> None:
        self._anonymous = anonymous
        super().__init__(waits)

    def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:
        if self._anonymous:
            request.headers.pop("Authorization", None)
        response = super().send(request, *arguments, **options)
        if response.is_redirect:
            response.close()
            raise ElsewhereError(str(request.url), response.headers["location"])
        return response


def mount(session: Session, adapter: HTTPAdapter) -> None:
    """Makes a session use an adapter for all it sends, and its library log no queries of addresses."""
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    redirects.hide_queries("urllib3.connectionpool", "urllib3.util.retry")


def storage_session(waits: tuple[float, float]) -> Session:
    """Returns a session that has no credentials of any kind, from whatever files of the user's."""
    session = _StorageSession()
    session.auth = _nobody
    mount(session, PatientAdapter(waits))
    return session


def peer_of(response: Response) -> object:
    """Returns host and port of who answered, if that is known: with a proxy, it is not."""
    return getattr(response.raw.connection, "peer", None)


class _StorageSession(Session):
    """A session that does not look at where an answer leads: whoever asks does that."""

    def get_redirect_target(self, resp: Response) -> str | None:
        return None


def _nobody(request: PreparedRequest) -> PreparedRequest:
    return request


class _PlainConnection(HTTPConnection):
    peer: object = None

    def connect(self) -> None:
        super().connect()
        self.peer = self.sock.getpeername()


class _SecureConnection(HTTPSConnection):
    peer: object = None

    def connect(self) -> None:
        super().connect()
        self.peer = self.sock.getpeername()


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
