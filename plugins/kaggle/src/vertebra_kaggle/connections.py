"""An adapter for the HTTP library of Kaggle's own client: it sets timeouts, and follows no redirects with the token.

Only this module imports that library at its top; it is imported at the first request.
"""

from __future__ import annotations

from typing import Any

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter

from vertebra import http


class RedirectedError(Exception):
    """The API responded with a redirect, which was not followed."""

    def __init__(self, url: str, location: str) -> None:
        self.url, self.location = url, location
        super().__init__()


class ApiAdapter(HTTPAdapter):
    """Sends requests with timeouts, and follows no redirects: the client would send the user's token along.

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
        return response


def mount(session: Session, adapter: HTTPAdapter) -> None:
    """Makes a session use an adapter for all requests, and hides the queries of URLs in its library's log."""
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    http.hide_queries("urllib3.connectionpool", "urllib3.util.retry")
