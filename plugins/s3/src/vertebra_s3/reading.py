"""Reading objects of S3: by addresses that the client library signs, with an HTTP library that does as it is told.

The client library would read them, too, but takes more of the processor for it, hides how long a service wants to be
left alone, and follows redirects.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from vertebra import Content, PresetFile, PresetHandle, redirects, web
from vertebra.errors import IntegrityError, RedirectRefusedError
from vertebra_s3 import bucket, layout
from vertebra_s3.access import ENDPOINT_SETTING, Access
from vertebra_s3.refusals import answered

_VALID = timedelta(hours=1)
_MOST, _LONGEST_ERROR = 2**20, 2**16
_CHANGED = "Load it again; what vertebra push has put there does not change"
_AS_IT_IS = ("", "identity", "aws-chunked")
_ELSEWHERE = "and what is signed for one address is read at no other"
_managers: dict[tuple[int, str | None], Any] = {}
"""Connections, by process and proxy."""


class Answer(web.Answer):
    """An answer of the HTTP library, which has not been read."""

    def __init__(self, handle: PresetHandle, response: Any, url: str) -> None:
        self.url, self.status = url, response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        if self.headers.get("content-encoding") in _AS_IT_IS:
            del self.headers["content-encoding"]
        self._handle, self._response = handle, response

    def __next__(self) -> bytes:
        with _explained(self._handle, self.url):
            chunk = self._response.read1(_MOST, decode_content=False)
        if not chunk:
            raise StopIteration
        return bytes(chunk)

    def close(self) -> None:
        self._response.close()


def read(
    handle: PresetHandle,
    access: Access,
    address: tuple[Any, str, str],
    file: PresetFile,
    tag: str | None,
    part: tuple[int, int | None],
) -> Content:
    """Begins to read a file of a preset, or a part of it, for `RemoteSource.read`.

    Args:
        handle: The preset.
        access: How the service is asked.
        address: The client, the bucket and the key of the object.
        file: The file.
        tag: What its content is called, or None if that does not matter.
        part: The first byte, and the one after the last, or None for the end.

    Raises:
        IntegrityError: the content is another one.
        RedirectRefusedError: it is said to be elsewhere.
        PresetNotFoundError, PresetAccessError, SourceUnavailableError: as the service says.
    """

    def ask(headers: Mapping[str, str]) -> Answer:
        url = _signed(access, *address)
        answer = _get(handle, url, {**headers, **({} if tag is None else {"if-match": tag})})
        if 300 <= answer.status < 400 and "location" in answer.headers:
            answer.close()
            target = redirects.Hops(handle, access.place, url, ENDPOINT_SETTING).next(url, answer.headers["location"])
            raise RedirectRefusedError(handle, redirects.origin(target), _ELSEWHERE, ENDPOINT_SETTING)
        return answer

    def refused(answer: Answer) -> Exception:
        if answer.status == 412:
            return IntegrityError(handle, file.name, "it was replaced after the preset was looked up", _CHANGED)
        return answered(handle, access, answer.status, answer.headers, _beginning(answer))

    return web.read(handle, file, part, ask, refused, _digest)


def _signed(access: Access, client: Any, name: str, key: str) -> str:
    if dict(access.options).get("skip_signature") == "true":
        return f"{access.place}/{name}/{quote(key)}"
    import obstore

    return str(obstore.sign(client, "GET", key, _VALID))


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
        raise web.unavailable(handle, url, type(error).__name__) from None


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
