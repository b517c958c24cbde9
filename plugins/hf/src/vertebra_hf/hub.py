"""Requests to a hub: endpoint, the user's token, timeouts and errors."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
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
from vertebra.errors import SettingsError, SourceUnavailableError
from vertebra_hf.error_mapping import Login

CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
"""Seconds to wait for a connection, and for the next bytes."""
_PUBLIC = "https://huggingface.co"
_LONGEST_LISTING, _SHORT = 64 * 2**20, 2**16


def endpoint() -> str:
    """Returns the address of the hub: `HF_ENDPOINT`, or the public one.

    Raises:
        SettingsError: it is no address.
    """
    url = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or _PUBLIC
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.username):
            return url
    raise SettingsError("HF_ENDPOINT", "expected an address such as https://hub.example.org, without credentials")


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
        self._body: Iterator[bytes] = response.iter_raw()  # without a size: the client would cut and join what it gets

    def __next__(self) -> bytes:
        try:
            return next(self._body)
        except _client_errors() as error:
            raise _unavailable(self._handle, self.url, error) from None

    def close(self) -> None:
        self._response.close()

    def finish(self) -> None:
        """Ends a redirect; a short body is read, so that the connection serves another request."""
        with contextlib.suppress(*_client_errors()):
            if int(self.headers.get("content-length", _SHORT)) < _SHORT:
                self._response.read()
        self.close()

    def json(self) -> dict[str, Any]:
        """Reads the body as a JSON object.

        Raises:
            SourceUnavailableError: it is none, as the answers of login pages.
        """
        body = http.read_all(self._handle, self, _LONGEST_LISTING)
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(data := json.loads(body), dict):
                return data
        kind = self.headers.get("content-type", "").partition(";")[0] or "something"
        problem = f"sent {kind[:40]!r} where a hub sends JSON; a proxy or login page may be in the way"
        raise SourceUnavailableError(self._handle, f"{http.origin(self.url)} {problem}")


@dataclass(frozen=True, slots=True)
class FetchSession:
    """A preset's requests to a hub, and the headers of each."""

    handle: PresetHandle
    endpoint: str
    headers: Mapping[str, str]


class Hub:
    """Sends requests to a hub, with the user's token."""

    def __init__(self) -> None:
        self._refused: set[int] = set()
        """Hashes of tokens."""

    def ask(self, handle: PresetHandle, url: str, headers: Mapping[str, str] | None = None) -> HubResponse:
        """Requests a URL and follows its redirects.

        The user's token goes to the hub and to no other origin. If the hub refuses it, the request is sent once more
        without it: a public repository must not need a token.

        Returns:
            The response, with any status except those of redirects.

        Raises:
            SourceUnavailableError: there is no response.
            RedirectRefusedError: a redirect must not be followed.
            ClientMissingError: huggingface_hub is not installed.
        """
        hub = endpoint()
        session = FetchSession(handle, hub, {**(headers or {}), "accept-encoding": "identity"})
        own, saved = {"user-agent": _agent()}, _saved_token()
        token = saved if http.same_origin(url, hub) else None
        spent = hash(token) in self._refused
        answer = self._send(session, url, own, None if spent else token)
        if answer.status == 401 and token is not None and not spent and http.same_origin(answer.url, hub):
            answer.close()
            spent = True
            answer = self._send(session, url, own, None)
            self._note_refused(token, answer)
        answer.login = "refused" if spent else "none" if token is None else "accepted"
        return answer

    def _send(self, session: FetchSession, url: str, own: Mapping[str, str], token: str | None) -> HubResponse:
        policy = http.RedirectPolicy(session.handle, session.endpoint, url, "HF_ENDPOINT")
        headers = {**own, **session.headers}
        return http.follow_redirects(policy, url, partial(_get_with_token, session, headers, token))

    def _note_refused(self, token: str, answer: HubResponse) -> None:
        self._refused.add(hash(token))
        if answer.status < 400:
            logging.getLogger("vertebra").warning(
                "The Hugging Face token was refused: it is expired, revoked or mistyped. Going on without it; log in "
                "anew with: hf auth login, or correct or unset HF_TOKEN."
            )


def api_url(repo: str, revision: str | None) -> str:
    """Returns where a hub tells what a repository holds, with hashes."""
    at = "" if revision is None else f"/revision/{quote(revision, safe='')}"
    return f"{endpoint()}/api/models/{quote(repo)}{at}?blobs=true"


def file_url(repo: str, revision: str, path: str) -> str:
    """Returns where a hub has a file."""
    return f"{endpoint()}/{quote(repo)}/resolve/{quote(revision, safe='')}/{quote(path)}"


def importing() -> contextlib.AbstractContextManager[None]:
    """Says what to install if the client library is not there."""
    return require_client("hf://", "huggingface_hub")


@functools.cache
def _agent() -> str:
    with importing():
        return f"vertebra/{metadata.version('vertebra')}; huggingface_hub/{metadata.version('huggingface_hub')}"


def _saved_token() -> str | None:
    """Returns what a request says who asks, from where the client library takes it; its own way asks the hub first."""
    with importing():
        from huggingface_hub import constants, get_token
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return f"Bearer {token}" if token else None


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
        waits = (CONNECT_SECONDS, READ_SECONDS, READ_SECONDS, None)
        request = client.build_request("GET", url, headers=headers, timeout=waits)
        return HubResponse(handle, client.send(request, stream=True, follow_redirects=False), url)
    except _client_errors() as error:
        raise _unavailable(handle, url, error) from None


def _client_errors() -> tuple[type[Exception], ...]:
    """Returns what a request may raise: the HTTP library's, the system's, and for proxies with unsound addresses."""
    from huggingface_hub.errors import HTTPError

    library = importlib.import_module(HTTPError.__module__.partition(".")[0])  # which one depends on the version
    return HTTPError, library.InvalidURL, OSError, ValueError


def _unavailable(handle: PresetHandle, url: str, error: Exception) -> SourceUnavailableError:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):  # no use in trying again
        return SourceUnavailableError(handle, "HF_HUB_OFFLINE is set, and forbids it", math.inf, "Unset it to fetch")
    return http.unavailable(handle, url, http.without_queries(f"{type(error).__name__}: {error}"))


def _hide_queries(library: str) -> None:
    core = library.replace("httpx", "httpcore")
    http.hide_queries(library, *(f"{core}.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))
