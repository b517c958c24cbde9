"""`Transport`: requests to one service, for sources without a client library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from vertebra.handles import PresetHandle
from vertebra.http import client
from vertebra.http.credentials import check_credential
from vertebra.http.error_mapping import error
from vertebra.http.origins import origin
from vertebra.http.responses import Response, read, read_json
from vertebra.http.signed_urls import SignedUrlCache
from vertebra.remote import ByteStream
from vertebra.specs import PresetFile


class Transport:
    """Sends requests to a service, with the user's credentials, and reads file lists and files.

    Redirects of GET requests are checked by `RedirectPolicy`, and those of other requests are not followed. Credentials
    and other headers of `headers` go to the service's origin only. Connections are kept, proxies are those of the
    environment, and a body that is cut off is an error.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: Callable[[], str | None] = lambda: None,
        headers: Callable[[], Mapping[str, str]] = dict,
        setting: str = "the source's endpoint",
        timeouts: tuple[float, float] = client.TIMEOUTS,
        certificates: str | None = None,
    ) -> None:
        """
        Args:
            base_url: URL of the service, which paths are appended to.
            token: Returns the user's token, or None; called for each request, and sent as a bearer token.
            headers: Returns further headers, such as an API key; called for each request.
            setting: The setting by which users name another base URL, for messages.
            timeouts: Seconds to wait for a connection, and for the next bytes.
            certificates: File or folder with certificates of authorities to trust in place of the system's.
        """
        self.base_url = base_url.rstrip("/")
        self._token, self._headers = token, headers
        self._setting, self._urls = setting, SignedUrlCache()
        self._options: dict[str, Any] = {"timeouts": timeouts, "certificates": certificates}

    def get(
        self,
        handle: PresetHandle,
        path: str,
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> Response:
        """Sends a GET request and follows redirects.

        Args:
            handle: The preset.
            path: Path below the base URL, not percent-encoded.
            headers: Headers of this request.
            query: Query of the URL, percent-encoded as by `urllib.parse.urlencode`.

        Returns:
            The response, with any status except those of redirects.

        Raises:
            SourceUnavailableError: there is no response.
            SettingsError: the token cannot be sent, such as one with quotes.
            RedirectRefusedError: a redirect must not be followed.
            ClientMissingError: urllib3 is not installed; `vertebra[http]` brings it.
        """
        url, sent = self._url(path, query), {**self._login(), **(headers or {})}
        return client.get(handle, self.base_url, url, sent, setting=self._setting, **self._options)

    def send(
        self,
        method: str,
        handle: PresetHandle,
        path: str,
        body: bytes | Path | None = None,
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> Response:
        """Sends a request of any method, such as PUT, for `upload`; follows no redirect.

        Args:
            method: Method of the request.
            handle: The preset.
            path: Path below the base URL, not percent-encoded.
            body: Body of the request: bytes, or a file, which is not read into memory.
            headers: Headers of this request.
            query: Query of the URL, percent-encoded.

        Returns:
            The response, with any status below 300. Close it, or read its body with `read_all`.

        Raises:
            PresetNotFoundError, PresetAccessError, PresetError: as `vertebra.http.error` maps the status; a redirect,
                too, is refused, as the body and the credentials are for this service.
            SourceUnavailableError, SettingsError, ClientMissingError: as for `get`.
        """
        url, sent = self._url(path, query), {**self._login(), **(headers or {})}
        response = client.send(handle, url, sent, method=method, body=body, **self._options)
        if response.status >= 300:
            response.finish()
            raise self._error(handle, path, response)
        return response

    def json(self, handle: PresetHandle, path: str, query: str = "", *, most: int = 2**20) -> Any:
        """Reads a JSON document, such as a file list.

        Args:
            handle: The preset.
            path: Path below the base URL, not percent-encoded.
            query: Query of the URL, percent-encoded.
            most: The largest number of bytes allowed.

        Raises:
            SourceUnavailableError: the service does not respond, or the document is not JSON or too large.
            PresetNotFoundError, PresetAccessError, PresetError: as `vertebra.http.error` maps the status.
        """
        response = self.get(handle, path, query=query)
        if response.status != 200:
            response.close()
            raise self._error(handle, path, response)
        return read_json(handle, response, most)

    def read(
        self,
        handle: PresetHandle,
        file: PresetFile,
        path: str,
        start: int = 0,
        stop: int | None = None,
        query: str = "",
    ) -> ByteStream:
        """Starts the download of a file, or of a range of it, for `RemoteSource.read`.

        If the service redirects to a signed URL in its storage, all ranges of the file use that URL until it expires.

        Args:
            handle: The preset.
            file: The file.
            path: Path of the file below the base URL, not percent-encoded.
            start: Position of the first byte.
            stop: Position after the last byte, or None for the end of the file.
            query: Query of the URL, percent-encoded.

        Raises:
            IntegrityError: the body is compressed, so that its bytes are not the file's.
            SourceUnavailableError, PresetNotFoundError, PresetAccessError, PresetError: as for `json`.
        """

        def send(url: str, headers: Mapping[str, str]) -> Response:
            sent = {**self._login(), **headers}
            return client.get(handle, self.base_url, url, sent, setting=self._setting, **self._options)

        url = self._url(path, query)
        located = partial(self._urls.open, (handle, url), lambda: url, send)
        return read(handle, file, (start, stop), located, partial(self._error, handle, path))

    def _url(self, path: str, query: str) -> str:
        return f"{self.base_url}/{quote(path.lstrip('/'))}{f'?{query}' if query else ''}"

    def _login(self) -> dict[str, str]:
        """Returns the headers that identify the user."""
        token = self._token()
        if token:
            check_credential(f"the token for {origin(self.base_url)}", token)
        return {**({"authorization": f"Bearer {token}"} if token else {}), **self._headers()}

    def _error(self, handle: PresetHandle, path: str, response: Response) -> Exception:
        """Returns the error of a response; of the URL, it has the path: a query may have a signature."""
        requested = urlsplit(self._url(path, "")).path
        return error(handle, response.status, response.headers, path=requested)
