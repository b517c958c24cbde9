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
from vertebra_kaggle.error_mapping import LOG_IN_ANEW, Login, Purpose, refusal
from vertebra_kaggle.variations import Variation

_PAGE_SIZE = 200
_MOST_PAGES = 2_000
_UNSOUND = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What the client raises when an answer is not what it expects."""


class Api:
    """Sends requests to Kaggle, with the user's credentials."""

    def __init__(self) -> None:
        self._refused: set[str] = set()
        """Traces of credentials."""

    def newest_version(self, handle: PresetHandle, variation: Variation) -> int:
        """Returns the number of a variation's newest version.

        Raises:
            PresetNotFoundError, PresetAccessError, SourceUnavailableError: as `RemoteSource.resolve_snapshot`.
        """
        request = _request("ApiGetModelInstanceRequest", handle, variation)
        answer = self._ask(_Question(handle, variation, "list"), lambda api: api.get_model_instance(request))
        if not isinstance(answer.version_number, int) or answer.version_number < 1:
            raise _strange(handle)
        return answer.version_number

    def files(self, handle: PresetHandle, variation: Variation, version: int) -> list[PresetFile]:
        """Returns the files of a version.

        Raises:
            as `newest_version`.
        """
        question = _Question(handle, variation, "list")
        request = _request("ApiListModelInstanceVersionFilesRequest", handle, variation)
        request.version_number, request.page_size = version, _PAGE_SIZE
        found: list[PresetFile] = []
        for _ in range(_MOST_PAGES):
            answer = self._ask(question, lambda api: api.list_model_instance_version_files(request))
            found += [_listed(handle, file) for file in answer.files or ()]
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token
        raise SourceUnavailableError(handle, f"{http.origin(endpoint())} sends a list without end")

    def link(self, handle: PresetHandle, variation: Variation, version: int, name: str) -> str:
        """Returns where a file of a version can be read for a while.

        Raises:
            as `newest_version`.
            RedirectRefusedError: it is where nothing must be read.
        """
        with importing():
            from vertebra_kaggle.connections import RedirectedError
        request = _request("ApiDownloadModelInstanceVersionRequest", handle, variation)
        request.version_number, request.path = version, name

        def ask(api: Any) -> Any:
            try:
                api.download_model_instance_version(request).close()
            except RedirectedError as redirected:
                return redirected
            return None

        found = self._ask(_Question(handle, variation, "read"), ask)
        if found is None:
            raise _strange(handle)
        return http.RedirectPolicy(handle, endpoint(), found.url, ENDPOINT_SETTING).resolve(found.url, found.location)

    def _ask(self, question: _Question, ask: Callable[[Any], Any]) -> Any:
        """Asks with the user's credentials, and again without them if Kaggle refuses them: public models need none."""
        known = credentials()
        login: Login = "none" if known is None else "refused" if known.trace() in self._refused else "accepted"
        try:
            return question.put(ask, known if login == "accepted" else None)
        except _RefusedError as refused:
            if refused.status != 401 or known is None or login == "refused":
                raise question.refusal(refused, login) from None
        self._refused.add(known.trace())
        try:
            answer = question.put(ask, None)
        except _RefusedError as refused:
            raise question.refusal(refused, "refused") from None
        logging.getLogger("vertebra").warning(
            "The Kaggle credentials were refused: they are expired, revoked or mistyped. Going on without them. %s.",
            LOG_IN_ANEW,
        )
        return answer


class _RefusedError(Exception):
    """An answer with a status that is no success."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, {name.lower(): value for name, value in headers.items()}
        super().__init__()


class _Question:
    """What is asked, and what its refusal means."""

    def __init__(self, handle: PresetHandle, variation: Variation, purpose: Purpose) -> None:
        self.handle, self.variation, self.purpose = handle, variation, purpose

    def put(self, ask: Callable[[Any], Any], known: Any) -> Any:
        """Asks, and sorts out what may go wrong."""
        with importing():
            from requests import HTTPError

            from vertebra_kaggle.connections import RedirectedError
        try:
            with models(known) as api:
                return ask(api)
        except HTTPError as error:
            raise _refused(error) or unavailable(self.handle, endpoint(), error) from None
        except RedirectedError as redirected:
            problem = (
                f"{http.origin(endpoint())} leads to {_shown(redirected)}; a proxy or login page may be in the way"
            )
            raise SourceUnavailableError(self.handle, problem) from None
        except client_errors() as error:
            if isinstance(error, ValueError) and not isinstance(error, OSError):
                raise _strange(self.handle) from None
            raise unavailable(self.handle, endpoint(), error) from None
        except _UNSOUND:
            raise _strange(self.handle) from None

    def refusal(self, refused: _RefusedError, login: Login) -> Exception:
        """Returns the error that a refusal means."""
        where = page(f"{self.variation.owner}/{self.variation.model}")
        return refusal(self.handle, self.variation, self.purpose, refused.status, refused.headers, login, where)


def _request(kind: str, handle: PresetHandle, variation: Variation) -> Any:
    """Returns a request about a variation."""
    with importing():
        from kagglesdk.models.types import model_api_service
    request = getattr(model_api_service, kind)()
    request.owner_slug, request.model_slug = variation.owner, variation.model
    request.framework, request.instance_slug = _framework(handle, variation.framework), variation.name
    return request


def _listed(handle: PresetHandle, file: Any) -> PresetFile:
    name, size = getattr(file, "name", None), getattr(file, "size", None)
    if not isinstance(name, str) or type(size) is not int or size < 0:
        raise _strange(handle)
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
    """Returns what a client's error says of an answer, or None if it says nothing of one."""
    response = error.response
    if response is None:
        return None
    status = response.status_code
    if status < 400:  # a refusal inside of an answer that calls itself a success
        status = response.json()["code"]
    return _RefusedError(status, response.headers)


def _shown(redirected: Any) -> str:
    try:
        return http.origin(redirected.location) if "://" in redirected.location else "another page"
    except ValueError:
        return "a text that is no address"


def _strange(handle: PresetHandle) -> SourceUnavailableError:
    return SourceUnavailableError(handle, f"{http.origin(endpoint())} does not answer as Kaggle does")
