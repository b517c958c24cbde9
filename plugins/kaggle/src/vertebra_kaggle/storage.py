"""Requests to where Kaggle keeps files: by links that hold all the rights they need, so that nobody's token is sent."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from vertebra import PresetHandle, http, redirects
from vertebra.errors import SourceUnavailableError
from vertebra_kaggle.client import ENDPOINT_SETTING, WAITS, client_errors, endpoint, importing, reason

_MOST = 2**20


class Answer(http.Answer):
    """An answer of the HTTP library, which has not been read."""

    def __init__(self, handle: PresetHandle, response: Any, url: str) -> None:
        from vertebra_kaggle.connections import peer_of

        self.url, self.peer = url, peer_of(response)
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._handle, self._response = handle, response

    def __next__(self) -> bytes:
        try:
            # What has come, and no waiting for more: if it breaks off, nothing that came is lost.
            chunk = self._response.raw.read1(_MOST, decode_content=False)
        except client_errors() as error:
            raise unavailable(self._handle, self.url, error) from None
        if not chunk:
            raise StopIteration
        return bytes(chunk)

    def close(self) -> None:
        self._response.close()


class Storage:
    """Asks for files; its connections serve one request after another."""

    def __init__(self) -> None:
        self._session: Any = None
        self._making = threading.Lock()

    def ask(self, handle: PresetHandle, url: str, headers: Mapping[str, str]) -> Answer:
        """Begins to read what stands at a link, there or where it redirects to, with any status.

        Raises:
            SourceUnavailableError: there is no answer.
            RedirectRefusedError: the way leads where it must not.
            ClientMissingError: kagglehub is not installed.
        """
        hops = redirects.Hops(handle, endpoint(), url, ENDPOINT_SETTING)
        return http.follow(hops, url, lambda place: self._get(handle, place, headers))

    def _get(self, handle: PresetHandle, url: str, headers: Mapping[str, str]) -> Answer:
        with importing():
            from vertebra_kaggle.connections import storage_session
        with self._making:
            if self._session is None:
                self._session = storage_session(WAITS)
        try:
            wanted = {**headers, "accept-encoding": "identity"}
            return Answer(handle, self._session.get(url, headers=wanted, stream=True, allow_redirects=False), url)
        except client_errors() as error:
            raise unavailable(handle, url, error) from None


def unavailable(handle: PresetHandle, url: str, error: BaseException) -> SourceUnavailableError:
    """Returns the error that says who did not answer, and why; never the whole address."""
    return http.unavailable(handle, url, reason(error))
