"""Requests to Kaggle's API: the newest version of a model, the files of a version, and links to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from vertebra import PresetFile, PresetHandle, http
from vertebra.errors import HandleError, SourceUnavailableError, close_names
from vertebra_kaggle.client import (
    ENDPOINT_SETTING,
    client_errors,
    credentials,
    endpoint,
    importing,
    models,
    page,
    unavailable,
)
from vertebra_kaggle.error_mapping import LOG_IN_AGAIN, Login, Purpose, refusal
from vertebra_kaggle.variations import MOST_VERSION, Variation

_PAGE_SIZE = 200
_MOST_PAGES = 2_000
_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""Exceptions that the client raises for a malformed response."""


class Api:
    """Sends requests to Kaggle, with the user's credentials."""

    def __init__(self) -> None:
        self._refused: set[str] = set()
        """Hashes of credentials that Kaggle refused."""

    def newest_version(self, handle: PresetHandle, variation: Variation) -> int:
        """Returns the number of a variation's newest version.

        Raises:
            PresetNotFoundError, PresetAccessError, SourceUnavailableError: as `RemoteSource.resolve_snapshot`.
        """
        request = _request("ApiGetModelInstanceRequest", handle, variation)
        response = self._send(_ApiCall(handle, variation, "list"), lambda api: api.get_model_instance(request))
        version = response.version_number
        if type(version) is not int or not 1 <= version <= MOST_VERSION:
            raise _unexpected_response(handle)
        return version

    def files(self, handle: PresetHandle, variation: Variation, version: int) -> list[PresetFile]:
        """Returns the files of a version.

        Raises:
            as `newest_version`.
        """
        call = _ApiCall(handle, variation, "list")
        request = _request("ApiListModelInstanceVersionFilesRequest", handle, variation)
        request.version_number, request.page_size = version, _PAGE_SIZE
        found: list[PresetFile] = []
        for _ in range(_MOST_PAGES):
            response = self._send(call, lambda api: api.list_model_instance_version_files(request))
            found += [_listed_file(handle, file) for file in response.files or ()]
            token = response.next_page_token
            if not token:
                return found
            if not isinstance(token, str):
                raise _unexpected_response(handle)
            if token == request.page_token:  # the same page would follow
                break
            request.page_token = token
        raise SourceUnavailableError(handle, f"{http.origin(endpoint())} sends an endless file list")

    def link(self, handle: PresetHandle, variation: Variation, version: int, name: str) -> str:
        """Returns a URL from which a file of a version can be read for a limited time.

        Raises:
            as `newest_version`.
            RedirectRefusedError: the URL must not be read.
        """
        with importing():
            from vertebra_kaggle.connections import RedirectedError
        request = _request("ApiDownloadModelInstanceVersionRequest", handle, variation)
        request.version_number, request.path = version, name

        def send(api: Any) -> Any:
            try:
                api.download_model_instance_version(request).close()
            except RedirectedError as redirected:
                return redirected
            return None

        redirect = self._send(_ApiCall(handle, variation, "read"), send)
        if redirect is None:
            raise _unexpected_response(handle)
        policy = http.RedirectPolicy(handle, endpoint(), redirect.url, ENDPOINT_SETTING)
        return policy.resolve(redirect.url, redirect.location)

    def _send(self, call: _ApiCall, send: Callable[[Any], Any]) -> Any:
        """Sends a request with the user's credentials, and again without them if Kaggle refuses them.

        So public models load even with expired credentials.
        """
        account = credentials()
        login: Login = "none" if account is None else "refused" if account.digest() in self._refused else "accepted"
        try:
            return call.run(send, account if login == "accepted" else None)
        except _RefusedError as refused:
            if refused.status != 401 or account is None or login == "refused":
                raise call.refusal(refused, login) from None
        self._refused.add(account.digest())
        try:
            response = call.run(send, None)
        except _RefusedError as refused:
            raise call.refusal(refused, "refused") from None
        logging.getLogger("vertebra").warning(
            "The Kaggle credentials were refused: they are expired, revoked or mistyped. Continuing without them. %s.",
            LOG_IN_AGAIN,
        )
        return response


class _RefusedError(Exception):
    """A response with an error status."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, {name.lower(): value for name, value in headers.items()}
        super().__init__()


class _ApiCall:
    """A call of the API for one variation, and the meaning of its error responses."""

    def __init__(self, handle: PresetHandle, variation: Variation, purpose: Purpose) -> None:
        self.handle, self.variation, self.purpose = handle, variation, purpose

    def run(self, send: Callable[[Any], Any], account: Any) -> Any:
        """Sends the request, and maps its errors."""
        with importing():
            from requests import HTTPError

            from vertebra_kaggle.connections import LongResponseError, RedirectedError
        try:
            with models(account) as api:
                return send(api)
        except HTTPError as error:
            raise _refused(error) or unavailable(self.handle, endpoint(), error) from None
        except RedirectedError as redirected:
            problem = (
                f"{http.origin(endpoint())} redirects to {_target(redirected)}; a proxy or login page may be in the way"
            )
            raise SourceUnavailableError(self.handle, problem) from None
        except LongResponseError as long:
            problem = f"{http.origin(endpoint())} sent a document that is too long: more than {long.limit}"
            raise SourceUnavailableError(self.handle, problem) from None
        except client_errors() as error:
            if isinstance(error, ValueError) and not isinstance(error, OSError):
                raise _unexpected_response(self.handle) from None
            raise unavailable(self.handle, endpoint(), error) from None
        except _MALFORMED:
            raise _unexpected_response(self.handle) from None

    def refusal(self, refused: _RefusedError, login: Login) -> Exception:
        """Returns the error for an error response."""
        url = page(f"{self.variation.owner}/{self.variation.model}")
        return refusal(self.handle, self.variation, self.purpose, refused.status, refused.headers, login, url)


def _request(kind: str, handle: PresetHandle, variation: Variation) -> Any:
    """Returns a request about a variation."""
    with importing():
        from kagglesdk.models.types import model_api_service
    request = getattr(model_api_service, kind)()
    request.owner_slug, request.model_slug = variation.owner, variation.model
    request.framework, request.instance_slug = _framework(handle, variation.framework), variation.name
    return request


def _listed_file(handle: PresetHandle, file: Any) -> PresetFile:
    name, size = getattr(file, "name", None), getattr(file, "size", None)
    if not isinstance(name, str) or type(size) is not int or size < 0:
        raise _unexpected_response(handle)
    return PresetFile(name, size)


def _framework(handle: PresetHandle, name: str) -> Any:
    with importing():
        from kagglehub.enum import enum_to_str
        from kagglesdk.models.types.model_enums import ModelFramework
    known = {enum_to_str(framework): framework for framework in ModelFramework if framework.value}
    if name not in known:
        likely = close_names(name, known)
        hint = f"; did you mean {likely[0]!r}?" if likely else ""
        raise HandleError(str(handle), f"Kaggle has no framework {name!r}{hint} (known: {', '.join(sorted(known))})")
    return known[name]


def _refused(error: Any) -> _RefusedError | None:
    """Returns the status and headers of the response in a client's error, or None if it has no response."""
    response = error.response
    if response is None:
        return None
    status = response.status_code
    if status < 400:  # an error code inside of a response with a success status
        status = response.json()["code"]
    return _RefusedError(status, response.headers)


def _target(redirected: Any) -> str:
    try:
        return http.origin(redirected.location) if "://" in redirected.location else "another page"
    except ValueError:
        return "an invalid URL"


def _unexpected_response(handle: PresetHandle) -> SourceUnavailableError:
    return SourceUnavailableError(handle, f"{http.origin(endpoint())} does not respond as Kaggle does")
