"""Requests to a hub, with the user's endpoint and token, timeouts and errors."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any
from urllib.parse import quote, urlsplit

from vertebra import PresetHandle, http, require_client
from vertebra.errors import SettingsError, SourceUnavailableError, exception_text
from vertebra_hf.error_mapping import Login

CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
"""Seconds to wait for a connection, and for the next bytes."""
_PUBLIC = "https://huggingface.co"
_LONGEST_LISTING, _SHORT = 64 * 2**20, 2**16


def endpoint() -> str:
    """Returns the URL of the hub: `HF_ENDPOINT`, or the public hub.

    Raises:
        SettingsError: `HF_ENDPOINT` is not a URL.
    """
    url = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or _PUBLIC
    with contextlib.suppress(ValueError):
        split = urlsplit(url)
        if split.scheme in ("http", "https") and split.hostname and not (split.query or split.username):
            return url
    raise SettingsError("HF_ENDPOINT", "expected a URL such as https://hub.example.org, without credentials")


class HubResponse(http.Response):
    """A response of the client library whose body has not been read."""

    def __init__(self, handle: PresetHandle, response: Any, url: str) -> None:
        self.url = url
        self.login: Login = "none"
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        stream = response.extensions.get("network_stream")
        self.peer = stream and stream.get_extra_info("server_addr")
        self._handle, self._response = handle, response
        self._body: Iterator[bytes] = response.iter_raw()  # with a chunk size, the client would copy the bytes

    def __next__(self) -> bytes:
        try:
            return next(self._body)
        except _client_errors() as error:
            raise _unavailable(self._handle, self.url, error) from None

    def close(self) -> None:
        self._response.close()

    def finish(self) -> None:
        """Closes a redirect; a short body is read first, so that the connection can be used again."""
        with contextlib.suppress(*_client_errors()):
            if int(self.headers.get("content-length", _SHORT)) < _SHORT:
                self._response.read()
        self.close()

    def json(self) -> dict[str, Any]:
        """Reads the body as a JSON object.

        Raises:
            SourceUnavailableError: the body is not a JSON object, such as the HTML of a login page, or is too large.
        """
        data = http.read_json(self._handle, self, _LONGEST_LISTING)
        if not isinstance(data, dict):
            raise SourceUnavailableError(self._handle, f"{http.origin(self.url)} does not respond as a hub does")
        return data


@dataclass(frozen=True, slots=True)
class FetchSession:
    """Settings that all requests for a preset share."""

    handle: PresetHandle
    endpoint: str
    headers: Mapping[str, str]


class Hub:
    """Sends requests to a hub, with the user's token."""

    def __init__(self) -> None:
        self._refused: set[int] = set()
        """Hashes of tokens that the hub refused."""

    def get(self, handle: PresetHandle, url: str, headers: Mapping[str, str] | None = None) -> HubResponse:
        """Requests a URL and follows its redirects.

        The user's token goes to the hub and to no other origin. If the hub refuses it, the request is sent once more
        without the token: public repositories work even with an expired token.

        Returns:
            The response, with any status except those of redirects.

        Raises:
            SourceUnavailableError: there is no response.
            RedirectRefusedError: a redirect must not be followed.
            ClientMissingError: huggingface_hub is not installed.
        """
        hub = endpoint()
        session = FetchSession(handle, hub, {**(headers or {}), "accept-encoding": "identity"})
        agent, saved = {"user-agent": _agent()}, _saved_token()
        token = saved if http.same_origin(url, hub) else None
        refused = hash(token) in self._refused
        response = self._send(session, url, agent, None if refused else token)
        if response.status == 401 and token is not None and not refused and http.same_origin(response.url, hub):
            response.close()
            refused = True
            response = self._send(session, url, agent, None)
            self._record_refused(token, response)
        response.login = "refused" if refused else "none" if token is None else "accepted"
        return response

    def _send(self, session: FetchSession, url: str, agent: Mapping[str, str], token: str | None) -> HubResponse:
        policy = http.RedirectPolicy(session.handle, session.endpoint, url, "HF_ENDPOINT")
        headers = {**agent, **session.headers}
        return http.follow_redirects(policy, url, partial(_get_with_token, session, headers, token))

    def _record_refused(self, token: str, response: HubResponse) -> None:
        self._refused.add(hash(token))
        if response.status < 400:
            logging.getLogger("vertebra").warning(
                "The Hugging Face token was refused: it is expired, revoked or mistyped. Continuing without it. Log in "
                "again with: hf auth login, or correct or unset HF_TOKEN."
            )


def api_url(repo: str, revision: str | None) -> str:
    """Returns the URL of a repository's file list, with hashes."""
    suffix = "" if revision is None else f"/revision/{quote(revision, safe='')}"
    return f"{endpoint()}/api/models/{quote(repo)}{suffix}?blobs=true"


def file_url(repo: str, revision: str, path: str) -> str:
    """Returns the URL of a file."""
    return f"{endpoint()}/{quote(repo)}/resolve/{quote(revision, safe='')}/{quote(path)}"


def importing() -> contextlib.AbstractContextManager[None]:
    """Raises an error with the command to install the client library if it is missing."""
    return require_client("hf://", "huggingface_hub")


@functools.cache
def _agent() -> str:
    with importing():
        return f"vertebra/{metadata.version('vertebra')}; huggingface_hub/{metadata.version('huggingface_hub')}"


def _saved_token() -> str | None:
    """Returns the `authorization` header with the token that the client library has saved; uses no network.

    Raises:
        SettingsError: the token cannot be sent, such as one with quotes.
    """
    with importing():
        from huggingface_hub import constants, get_token
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None
    variables = [name for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if os.environ.get(name)]
    origin = [*variables, str(constants.HF_TOKEN_PATH)][0]
    try:
        token = get_token()
    except UnicodeDecodeError:
        raise SettingsError(origin, "it is not a text file", "Log in again with: hf auth login") from None
    if not token:
        return None
    http.check_credential(origin, token)
    return f"Bearer {token}"


def _get_with_token(session: FetchSession, headers: Mapping[str, str], token: str | None, url: str) -> HubResponse:
    """Sends one request; the token goes to the hub's origin only."""
    trusted = token is not None and http.same_origin(url, session.endpoint)
    return _get(session.handle, url, {**headers, "authorization": str(token)} if trusted else headers)


def _get(handle: PresetHandle, url: str, headers: Mapping[str, str]) -> HubResponse:
    with importing():
        from huggingface_hub.utils import get_session
    try:
        client = get_session()
        _hide_queries(type(client).__module__.partition(".")[0])
        timeouts = (CONNECT_SECONDS, READ_SECONDS, READ_SECONDS, None)
        request = client.build_request("GET", url, headers=headers, timeout=timeouts)
        return HubResponse(handle, client.send(request, stream=True, follow_redirects=False), url)
    except _client_errors() as error:
        raise _unavailable(handle, url, error) from None


def _client_errors() -> tuple[type[Exception], ...]:
    """Returns the exceptions of requests: the HTTP library's, the system's, and those for invalid proxy URLs."""
    from huggingface_hub.errors import HTTPError

    library = importlib.import_module(HTTPError.__module__.partition(".")[0])  # which one depends on the version
    return HTTPError, library.InvalidURL, OSError, ValueError


def _unavailable(handle: PresetHandle, url: str, error: Exception) -> SourceUnavailableError:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):  # a retry would fail, too
        problem = "HF_HUB_OFFLINE is set, which forbids downloads"
        return SourceUnavailableError(handle, problem, math.inf, "Unset it to download")
    return http.unavailable(handle, url, http.without_queries(exception_text(error)))


def _hide_queries(library: str) -> None:
    core = library.replace("httpx", "httpcore")
    http.hide_queries(library, *(f"{core}.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")))
