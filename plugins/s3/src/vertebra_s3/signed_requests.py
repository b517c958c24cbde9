"""Asking S3 by addresses that the client library signs, with an HTTP library that does as it is told.

The client library would read objects, too, but takes more of the processor for it, hides how long a service wants to be
left alone, and follows redirects, to which it takes a session token along. What an address holds, a redirect leaves
behind; none is followed from a signed one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from vertebra import ByteStream, PresetFile, PresetHandle, http, redirects
from vertebra.errors import IntegrityError, RedirectRefusedError
from vertebra_s3 import bucket, layout
from vertebra_s3.access import ENDPOINT_SETTING, Access
from vertebra_s3.error_mapping import answered, replaced

_VALID = timedelta(hours=1)
_MOST, _LONGEST_ERROR = 2**20, 2**16
_AS_IT_IS = ("", "identity", "aws-chunked")
_CLEAR = (200, 206, 400, 401, 403, 404, 416)
"""Statuses of a service that leads nowhere, whether the object is there or not."""
_ALONG = "where nothing that is signed, and no session token, is to go"
_managers: dict[tuple[int, str | None], Any] = {}
"""Connections, by process and proxy."""


@dataclass(frozen=True, slots=True)
class Place:
    """An object, and who asks for it."""

    handle: PresetHandle
    access: Access
    client: Any
    """The client library's."""
    bucket: str
    key: str


class Answer(http.Answer):
    """An answer of the HTTP library, which has not been read."""

    def __init__(self, handle: PresetHandle, response: Any, url: str) -> None:
        self.url, self.status = url, response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._handle, self._response = handle, response

    def __next__(self) -> bytes:
        with _explained(self._handle, self.url):
            chunk = self._response.read1(_MOST, decode_content=False)
        if not chunk:
            raise StopIteration
        return bytes(chunk)

    def close(self) -> None:
        self._response.close()


def read(place: Place, file: PresetFile, tag: str | None, part: tuple[int, int | None]) -> ByteStream:
    """Begins to read a file of a preset, or a part of it, for `RemoteSource.read`.

    Args:
        place: Where it is.
        file: The file.
        tag: What its content is called, or None if that does not matter.
        part: The first byte, and the one after the last, or None for the end.

    Raises:
        IntegrityError: the content is another one, or stored in another way than as it is.
        RedirectRefusedError: it is said to be elsewhere.
        PresetNotFoundError, PresetAccessError, SourceUnavailableError: as the service says.
    """

    def ask(headers: Mapping[str, str]) -> Answer:
        answer = _ask(place, headers if tag is None else {**headers, "if-match": tag})
        encoding = answer.headers.pop("content-encoding", "")
        if encoding not in _AS_IT_IS:
            answer.close()
            raise IntegrityError(place.handle, file.name, f"it is stored as {encoding}", "Store it as it is")
        return answer

    def refused(answer: Answer) -> Exception:
        if answer.status == 412:
            return replaced(place.handle, file.name)
        return answered(place.handle, place.access, answer.status, answer.headers, _beginning(answer))

    return http.read(place.handle, file, part, ask, refused, _digest)


def check(place: Place) -> None:
    """Asks whether an object, which need not be there, is where it is said to be: for whoever follows redirects.

    Raises:
        RedirectRefusedError: the service sends whoever asks to another place.
        SourceUnavailableError: there is no answer.
    """
    answer = _ask(place, {"range": "bytes=0-0"})
    answer.close()
    if answer.status not in _CLEAR:
        raise http.error(place.handle, answer.status, answer.headers)


def _ask(place: Place, headers: Mapping[str, str]) -> Answer:
    if dict(place.access.options).get("skip_signature") == "true":
        url = f"{place.access.place}/{place.bucket}/{quote(place.key)}"
        return http.follow(_hops(place, url), url, lambda there: _get(place.handle, there, headers))
    import obstore

    url = str(obstore.sign(place.client, "GET", place.key, _VALID))
    answer = _get(place.handle, url, headers)
    if 300 <= answer.status < 400 and "location" in answer.headers:
        answer.close()
        target = _hops(place, url).next(url, answer.headers["location"])
        raise RedirectRefusedError(place.handle, redirects.origin(target), _ALONG, ENDPOINT_SETTING)
    return answer


def _hops(place: Place, url: str) -> redirects.Hops:
    return redirects.Hops(place.handle, place.access.place, url, ENDPOINT_SETTING)


def _get(handle: PresetHandle, url: str, headers: Mapping[str, str]) -> Answer:
    import urllib3

    waits = urllib3.Timeout(connect=bucket.CONNECT_SECONDS, read=bucket.READ_SECONDS)
    wanted = {**headers, "accept-encoding": "identity"}
    with _explained(handle, url):
        found = _manager(url).request(
            "GET", url, headers=wanted, timeout=waits, preload_content=False, redirect=False, retries=False
        )
    return Answer(handle, found, url)


def _manager(url: str) -> Any:
    """Returns connections to where an address leads, by the proxy that is set for it."""
    from urllib.request import getproxies

    import urllib3

    redirects.hide_queries("urllib3.connectionpool", "urllib3.util.retry")
    proxies = getproxies()
    proxy = (proxies.get(urlsplit(url).scheme) or proxies.get("all")) if redirects.by_proxy(url) else None
    key = os.getpid(), proxy
    if key not in _managers:
        _managers[key] = urllib3.ProxyManager(proxy, maxsize=32) if proxy else urllib3.PoolManager(maxsize=32)
    return _managers[key]


@contextlib.contextmanager
def _explained(handle: PresetHandle, url: str) -> Iterator[None]:
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (HTTPError, OSError, ValueError) as error:
        raise http.unavailable(handle, url, type(error).__name__) from None


def _beginning(answer: Answer) -> str:
    """Returns the beginning of an answer that is an error; S3 says there which."""
    body = bytearray()
    with contextlib.suppress(Exception):  # the status says enough
        for chunk in answer:
            body += chunk
            if len(body) > _LONGEST_ERROR:
                break
    return bytes(body[:_LONGEST_ERROR]).decode(errors="replace")


def _digest(answer: Answer) -> str | None:
    noted = answer.headers.get("x-amz-meta-sha256", "")
    return f"sha256:{noted}" if layout.is_sha256(noted) else None
