"""Requests to registries, with the tokens that the user's credentials are exchanged for."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from vertebra import PresetHandle, http
from vertebra.errors import (
    PresetAccessError,
    PresetError,
    PresetNotFoundError,
    RedirectRefusedError,
    SettingsError,
    SourceUnavailableError,
)
from vertebra_oci.login import Login, login_of
from vertebra_oci.reference import PLAIN_HTTP, Reference

PULL, PUSH = "pull", "pull,push"
_CHALLENGE = re.compile(r"(?:^|,\s*)(Basic|Bearer)\s+", re.IGNORECASE)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_SETTING = "the registry in the handle to its address there"
_LIFETIME, _LONGEST_LIFETIME, _MARGIN = 60.0, 86_400.0, 10.0
"""Seconds that a token is valid for if its response does not say, that it is kept at most, and before its end that
another one is requested."""


class Registries:
    """Sends requests to registries; tokens are kept in memory until they expire."""

    def __init__(self) -> None:
        self._headers: dict[tuple[str, str, str], tuple[str, float]] = {}
        """The header for a registry, repository and kind of access, and when it expires."""
        self._locks: dict[tuple[str, str, str], threading.Lock] = {}

    def get(self, handle: PresetHandle, reference: Reference, url: str, headers: Mapping[str, str]) -> http.Response:
        """Requests a manifest or blob of a repository, and follows redirects, without credentials.

        Args:
            handle: The preset.
            reference: The artifact.
            url: A URL of the registry, or one that it has redirected to.
            headers: Headers of the request.

        Returns:
            The response, with any status except those of redirects.

        Raises:
            SourceUnavailableError, RedirectRefusedError, ClientMissingError: as `vertebra.http.get` does.
            PresetAccessError: the registry does not accept the user's credentials.
        """

        def send(login: Mapping[str, str]) -> http.Response:
            return http.get(handle, reference.base, url, {**login, **headers}, setting=_SETTING)

        return self._with_login(handle, reference, PULL, send)

    def send(
        self,
        handle: PresetHandle,
        reference: Reference,
        method: str,
        url: str,
        body: bytes | Path | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.Response:
        """Sends a request of an upload; credentials go to the registry's origin only. Redirects are not followed.

        Raises:
            PresetNotFoundError, PresetAccessError, PresetError, SourceUnavailableError: the registry refuses it.
        """

        def send(login: Mapping[str, str]) -> http.Response:
            sent = {**(login if http.same_origin(url, reference.base) else {}), **(headers or {})}
            return http.send(handle, url, sent, method=method, body=body, policy=_policy(handle, reference))

        response = self._with_login(handle, reference, PUSH, send)
        if response.status >= 300 and (method, response.status) != ("HEAD", 404):
            raise refusal(handle, reference, response, "write to")
        return response

    def url(self, reference: Reference, path: str) -> str:
        """Returns the URL of a path below a repository."""
        return f"{reference.base}/v2/{reference.repository}/{path}"

    def _with_login(
        self,
        handle: PresetHandle,
        reference: Reference,
        access: str,
        send: Callable[[Mapping[str, str]], http.Response],
    ) -> http.Response:
        """Sends a request, and after a challenge once more with a new token."""
        key = (reference.base, reference.repository, access)
        header, expires = self._headers.get(key, ("", 0.0))
        response = send({"authorization": header} if time.monotonic() < expires else {})
        if response.status != 401 or not http.same_origin(response.url, reference.base):
            return response  # storage and other hosts have no right to ask for credentials
        response.finish()
        with self._locks.setdefault(key, threading.Lock()):
            current, expires = self._headers.get(key, ("", 0.0))
            if current == header or time.monotonic() >= expires:  # else another thread has a new one
                self._headers[key] = current, _ = _answer(handle, reference, access, response)
        return send({"authorization": current})


def refusal(handle: PresetHandle, reference: Reference, response: http.Response, action: str = "read") -> PresetError:
    """Returns the error for a response that is not the requested one, and closes it.

    Args:
        handle: The preset.
        reference: The artifact.
        response: The response.
        action: Action that the registry refused, for the message.

    Raises:
        SettingsError: the registry wants credentials, and the user's cannot be read.
    """
    response.finish()
    if response.status in (401, 403):
        login = login_of(reference.registry, reference.repository)
        used = f"the credentials come from {login.origin}" if login else "no credentials were found"
        problem = (
            f"{reference.registry} does not let you {action} {reference.repository} (HTTP {response.status}; {used})"
        )
        return PresetAccessError(handle, problem, f"Log in with: docker login {reference.registry}")
    if response.status == 404:
        return PresetNotFoundError(handle, f"there is no {reference}, or you may not see it")
    return http.error(handle, response.status, response.headers)


# === Tokens (the distribution specification, and its token authentication) ===


def _answer(handle: PresetHandle, reference: Reference, access: str, response: http.Response) -> tuple[str, float]:
    """Returns the header that answers a challenge, and when it expires."""
    challenges = _challenges(response.headers.get("www-authenticate", ""))
    login = None
    with contextlib.suppress(SettingsError):  # a public repository needs no credentials; `refusal` raises the error
        login = login_of(reference.registry, reference.repository)
    if "bearer" in challenges:
        return _token(handle, reference, access, challenges["bearer"], login)
    if "basic" in challenges and login and login.user:
        return login.basic, float("inf")
    raise refusal(handle, reference, response, "read" if access == PULL else "write to")


def _challenges(header: str) -> dict[str, dict[str, str]]:
    """Returns the parameters of each challenge, by its scheme in lower case."""
    parts = _CHALLENGE.split(header)[1:]
    return {
        scheme.lower(): dict(_PARAMETER.findall(text)) for scheme, text in zip(parts[::2], parts[1::2], strict=True)
    }


def _token(
    handle: PresetHandle, reference: Reference, access: str, challenge: Mapping[str, str], login: Login | None
) -> tuple[str, float]:
    """Requests a token from the service that the registry names; the checks of redirects apply to its URL."""
    policy = _policy(handle, reference)
    realm = policy.resolve(f"{reference.base}/v2/", challenge.get("realm", ""))
    if login and not reference.may_send_login_to(realm):
        raise RedirectRefusedError(handle, http.origin(realm), "which is not encrypted", f"{PLAIN_HTTP} to its host")
    wanted = {"scope": f"repository:{reference.repository}:{access}"}
    wanted |= {"service": challenge["service"]} if "service" in challenge else {}
    if login and not login.user:
        form = {**wanted, "grant_type": "refresh_token", "client_id": "vertebra", "refresh_token": login.secret}
        headers = {"content-type": "application/x-www-form-urlencoded"}
        response = http.send(handle, realm, headers, method="POST", body=urlencode(form).encode(), policy=policy)
    else:
        response = http.send(
            handle, _with_query(realm, wanted), {"authorization": login.basic} if login else {}, policy=policy
        )
    if response.status != 200:
        raise refusal(handle, reference, response, "read" if access == PULL else "write to")
    document = json_object(handle, response)
    token, seconds = document.get("token") or document.get("access_token"), document.get("expires_in")
    if not isinstance(token, str) or not token:
        raise SourceUnavailableError(handle, f"{http.origin(realm)} sent no token")
    lifetime = min(seconds, _LONGEST_LIFETIME) if isinstance(seconds, int | float) else _LIFETIME
    return f"Bearer {token}", time.monotonic() + max(lifetime - _MARGIN, 0.0)


def json_object(handle: PresetHandle, response: http.Response) -> dict[str, Any]:
    """Reads a short body as a JSON object.

    Raises:
        SourceUnavailableError: the body is not a JSON object, such as the HTML of a login page.
    """
    document = http.read_json(handle, response)
    if isinstance(document, dict):
        return document
    raise SourceUnavailableError(handle, f"{http.origin(response.url)} sent another document than a JSON object")


def location(handle: PresetHandle, reference: Reference, response: http.Response, query: Mapping[str, str]) -> str:
    """Returns the URL in the `Location` header of a response, with more parameters.

    Raises:
        SourceUnavailableError: there is no such header.
        RedirectRefusedError: nothing must be sent there, as for a redirect.
    """
    named = response.headers.get("location")
    if not named:
        raise SourceUnavailableError(handle, f"{reference.registry} does not say where to send a file")
    return _with_query(_policy(handle, reference).resolve(response.url, named), query)


def _policy(handle: PresetHandle, reference: Reference) -> http.RedirectPolicy:
    """Returns the checks of a URL that a registry has named, the same as of its redirects."""
    return http.RedirectPolicy(handle, reference.base, reference.base, _SETTING)


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"
