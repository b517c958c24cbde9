"""`SignedUrlCache`: the URLs of files in a service's storage, for services that sign a URL for each file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping

from vertebra.errors import SourceUnavailableError
from vertebra.http.responses import R

EXPIRED = (400, 401, 403, 404, 410)
"""Statuses with which storage responds to a URL whose signature has expired."""


class SignedUrlCache:
    """The final URL of each file after all redirects: located once for all ranges of the file, again when it expires.

    A signed URL grants access like a password, so URLs are kept in memory only.
    """

    def __init__(self) -> None:
        self._urls: dict[Hashable, str] = {}
        self._locks: dict[Hashable, threading.Lock] = {}
        self._failures: dict[Hashable, SourceUnavailableError] = {}
        """The last failure to locate each file."""

    def open(
        self,
        key: Hashable,
        locate: Callable[[], str],
        send: Callable[[str, Mapping[str, str]], R],
        headers: Mapping[str, str],
    ) -> R:
        """Requests a file at its cached URL, or where the service locates it if none is cached or the URL has expired.

        Args:
            key: Identifies the file.
            locate: Returns the URL that the service has for the file now.
            send: Requests a URL with headers, and follows redirects; the response's URL is cached if it has the file.
            headers: Headers of the request.
        """
        while True:
            failure = self._failures.get(key)
            with self._locks.setdefault(key, threading.Lock()):
                url = self._urls.get(key)
                if url is None:
                    return self._locate(key, failure, locate, send, headers)
            try:
                response = send(url, headers)
            except SourceUnavailableError:
                self._forget(key, url)  # the service may locate the file on another server
                raise
            if response.status not in EXPIRED:
                return response
            response.close()
            self._forget(key, url)

    def _locate(
        self,
        key: Hashable,
        known_failure: SourceUnavailableError | None,
        locate: Callable[[], str],
        send: Callable[[str, Mapping[str, str]], R],
        headers: Mapping[str, str],
    ) -> R:
        """Locates a file and requests it; the caller holds the file's lock.

        Raises:
            SourceUnavailableError: as the service says, or as another thread learned while this one waited.
        """
        failure = self._failures.get(key)
        if failure is not None and failure is not known_failure:
            raise failure
        try:
            response = send(locate(), headers)
        except SourceUnavailableError as error:
            self._failures[key] = error
            raise
        if response.status in (200, 206):
            self._urls[key] = response.url
        return response

    def _forget(self, key: Hashable, url: str) -> None:
        with self._locks[key]:
            if self._urls.get(key) == url:  # another thread may have located the file already
                del self._urls[key]
