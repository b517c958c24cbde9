"""Requests to where Kaggle keeps files: by links that hold all the rights they need, so that nobody's token is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from vertebra import PresetHandle, redirects
from vertebra.errors import SourceUnavailableError
from vertebra_kaggle.client import ENDPOINT_SETTING, WAITS, client_errors, endpoint, importing, reason

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST = 2**20


class Answer(Iterator[bytes]):
    """An answer whose body has not been read: an iterator over it, which can be closed before it has begun."""

    def __init__(self, handle: PresetHandle, response: Any, url: str) -> None:
        self.url = url
        self.status: int = response.status_code
        self.headers: dict[str, str] = {name.lower(): value for name, value in response.headers.items()}
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
        """Gives up the rest of the body."""
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
        while True:
            response = self._get(handle, url, headers)
            try:
                hops.check_peer(url, _peer_of(response))
                if response.status_code not in _REDIRECTS or "location" not in response.headers:
                    return Answer(handle, response, url)
                url = hops.next(url, response.headers["location"])
            except BaseException:
                response.close()
                raise
            response.close()

    def _get(self, handle: PresetHandle, url: str, headers: Mapping[str, str]) -> Any:
        with importing():
            from vertebra_kaggle.connections import storage_session
        with self._making:
            if self._session is None:
                self._session = storage_session(WAITS)
        try:
            wanted = {**headers, "accept-encoding": "identity"}
            return self._session.get(url, headers=wanted, stream=True, allow_redirects=False)
        except client_errors() as error:
            raise unavailable(handle, url, error) from None


def unavailable(handle: PresetHandle, url: str, error: BaseException) -> SourceUnavailableError:
    """Returns the error that says who did not answer, and why; never the whole address."""
    way = " through the proxy that HTTPS_PROXY or another variable names" if redirects.by_proxy(url) else ""
    return SourceUnavailableError(handle, f"no whole answer from {redirects.origin(url)}{way} ({reason(error)})")


def _peer_of(response: Any) -> object:
    from vertebra_kaggle.connections import peer_of

    return peer_of(response)
