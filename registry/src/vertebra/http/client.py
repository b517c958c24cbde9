"""Requests by urllib3: a single one (`send`), or a GET request with redirects that never forward credentials (`get`).

urllib3 is an extra, `vertebra[http]`, and imported at the first request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from vertebra.handles import PresetHandle
from vertebra.http.origins import same_origin
from vertebra.http.redirects import RedirectPolicy, follow_redirects
from vertebra.http.responses import Response
from vertebra.remote import require_client

TIMEOUTS = 10.0, 30.0
"""Seconds to wait for a connection, and for the next bytes."""
_SAFE_HEADERS = frozenset(
    {"accept", "accept-encoding", "if-match", "if-modified-since", "if-none-match", "if-range", "range", "user-agent"}
)
"""Headers that describe the requested content. Any other may identify the user, and goes to the service only."""


def send(
    handle: PresetHandle,
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    body: bytes | Path | None = None,
    timeouts: tuple[float, float] = TIMEOUTS,
    certificates: str | None = None,
    policy: RedirectPolicy | None = None,
) -> Response:
    """Sends one request, and follows no redirect.

    Connections are kept and shared by all requests of this process. Proxies are those of the environment.

    Args:
        handle: The preset.
        url: The URL, percent-encoded.
        headers: Headers of the request; all of them are sent.
        method: Method of the request, such as PUT.
        body: Body of the request: bytes, or a file whose bytes are sent without being held in memory.
        timeouts: Seconds to wait for a connection, and for the next bytes.
        certificates: File or folder with certificates of authorities to trust in place of the system's.
        policy: Checks the address of the server before anything is sent, for a URL that another server has named; None
            if the URL is the user's.

    Returns:
        The response, with any status. Reading its body raises SourceUnavailableError if the body is cut off.

    Raises:
        SourceUnavailableError: there is no response.
        RedirectRefusedError: `policy` refuses the address.
        ClientMissingError: urllib3 is not installed.
    """
    with require_client(f"{handle.scheme}://", "vertebra[http]"):
        import urllib3  # noqa: F401 (imported at each call, so that a test that hides it gets the error)

        from vertebra.http import urllib3_client
    return urllib3_client.send(handle, (method, url, body), headers or {}, timeouts, certificates, policy)


def get(
    handle: PresetHandle,
    endpoint: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    setting: str = "the source's endpoint",
    timeouts: tuple[float, float] = TIMEOUTS,
    certificates: str | None = None,
) -> Response:
    """Sends a GET request and follows redirects, each checked by `RedirectPolicy`.

    Another origin than the service's gets only headers that describe the requested content, such as `Range`: no token,
    no cookie, and no header of the service's own.

    Args:
        handle: The preset.
        endpoint: URL of the service. Credentials among the headers go to its scheme, host and port only.
        url: The URL, percent-encoded.
        headers: Headers of the request.
        setting: The setting by which users name another endpoint, for messages.
        timeouts: As for `send`.
        certificates: As for `send`.

    Returns:
        The response, with any status except those of redirects.

    Raises:
        RedirectRefusedError: a redirect must not be followed.
        SourceUnavailableError, ClientMissingError: as for `send`.
    """
    policy = RedirectPolicy(handle, endpoint, url, setting)
    request = partial(send, handle, timeouts=timeouts, certificates=certificates, policy=policy)
    return follow_redirects(policy, url, _Redirected(endpoint, headers or {}, request).send)


class _Redirected:
    """A request that may be redirected: from the first URL of another origin on, credentials are left out."""

    def __init__(self, endpoint: str, headers: Mapping[str, str], request: Callable[..., Response]) -> None:
        self._endpoint, self._headers, self._request = endpoint, headers, request
        self._trusted = True

    def send(self, url: str) -> Response:
        self._trusted = self._trusted and same_origin(url, self._endpoint)
        headers = self._headers.items()
        return self._request(url, {n: v for n, v in headers if self._trusted or n.lower() in _SAFE_HEADERS})
