"""An adapter for the HTTP library of Kaggle's own client: it sets timeouts and limits, and follows no redirects.

Only this module imports that library at its top; it is imported at the first request.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter

from vertebra import http

MOST_BYTES, MOST_BRACKETS = 4 * 2**20, 50_000
"""The longest response, and the most objects and lists in it: a page lists 200 files."""


class RedirectedError(Exception):
    """The API responded with a redirect, which was not followed."""

    def __init__(self, url: str, location: str) -> None:
        self.url, self.location = url, location
        super().__init__()


class LongResponseError(Exception):
    """The API responded with a longer document than allowed.

    Args:
        limit: The limit in words.
    """

    def __init__(self, limit: str) -> None:
        self.limit = limit
        super().__init__(limit)


class ApiAdapter(HTTPAdapter):
    """Sends requests with timeouts, and follows no redirects: the client would send the user's token along.

    The client reads a response to its end, whatever its length, and unpacks a packed one: a small response could take
    all memory, and so could a longer one of many small objects. Both are errors.

    Args:
        waits: Seconds to wait for a connection, and for the next bytes.
        anonymous: Whether requests are sent without the client's credentials.
    """

    def __init__(self, waits: tuple[float, float], anonymous: bool) -> None:
        self._waits, self._anonymous = waits, anonymous
        super().__init__()

    def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:
        if self._anonymous:
            request.headers.pop("Authorization", None)
        response = super().send(request, *arguments, **{**options, "timeout": self._waits})
        if response.is_redirect:
            response.close()
            raise RedirectedError(str(request.url), response.headers["location"])
        response.raw = _LimitedBody(response.raw)
        return response


class _LimitedBody:
    """The body of a response, which the client reads by `stream`."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def stream(self, amount: int, decode_content: bool | None = None) -> Iterator[bytes]:
        """Yields the unpacked bytes.

        Raises:
            LongResponseError: there are more than `MOST_BYTES`, or `MOST_BRACKETS` objects and lists.
        """
        size = brackets = 0
        for chunk in self._body.stream(amount, decode_content=decode_content):
            size += len(chunk)
            brackets += chunk.count(b"{") + chunk.count(b"[")
            if size > MOST_BYTES or brackets > MOST_BRACKETS:
                self._body.close()
                raise LongResponseError(
                    f"{MOST_BYTES:,} bytes" if size > MOST_BYTES else f"{MOST_BRACKETS:,} objects and lists"
                )
            yield chunk


def mount(session: Session, adapter: HTTPAdapter) -> None:
    """Makes a session use an adapter for all requests, and hides the queries of URLs in its library's log."""
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    http.hide_queries("urllib3.connectionpool", "urllib3.util.retry")
