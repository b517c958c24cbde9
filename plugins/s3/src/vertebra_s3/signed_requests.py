"""Reads objects of S3 by URLs that the client library signs, with the HTTP client of `vertebra.http`.

The client library could read objects, too, but it takes more CPU time, hides `Retry-After`, and sends the session token
along on redirects. In this module, a redirect of an unsigned request is followed without credentials, and a redirect of
a signed request is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

from vertebra import ByteStream, PresetFile, PresetHandle, http
from vertebra.errors import IntegrityError, RedirectRefusedError
from vertebra_s3 import layout
from vertebra_s3.access import ENDPOINT_SETTING, Access, timeouts
from vertebra_s3.error_mapping import replaced, response_error

_VALID = timedelta(hours=1)
_LONGEST_ERROR = 2**16
_NOT_ENCODED = ("", "identity", "aws-chunked")
_NOT_REDIRECTED = (200, 206, 400, 401, 403, 404, 416)
"""Statuses of a service that does not redirect, whether the object exists or not."""
_SIGNED = "which must not receive a signed request or a session token"


@dataclass(frozen=True, slots=True)
class ObjectRequest:
    """A request for an object, with the user's access."""

    handle: PresetHandle
    access: Access
    client: Any
    """The client library's store, which signs the URL."""
    bucket: str
    key: str

    def send(self, headers: Mapping[str, str]) -> http.Response:
        """Sends the request, by a signed URL unless the user has chosen to send no credentials.

        Raises:
            RedirectRefusedError: the service redirects a signed request, or an unsigned one to a forbidden URL.
            SourceUnavailableError: there is no response.
        """
        if dict(self.access.options).get("skip_signature") == "true":
            url = f"{self.access.endpoint}/{self.bucket}/{quote(self.key)}"
            limits = timeouts()
            return http.get(self.handle, self.access.endpoint, url, headers, setting=ENDPOINT_SETTING, timeouts=limits)
        import obstore

        url = str(obstore.sign(self.client, "GET", self.key, _VALID))
        response = http.send(self.handle, url, headers, timeouts=timeouts())
        if 300 <= response.status < 400 and "location" in response.headers:
            response.close()
            policy = http.RedirectPolicy(self.handle, self.access.endpoint, url, ENDPOINT_SETTING)
            target = policy.resolve(url, response.headers["location"])
            raise RedirectRefusedError(self.handle, http.origin(target), _SIGNED, ENDPOINT_SETTING)
        return response


def read(request: ObjectRequest, file: PresetFile, tag: str | None, byte_range: tuple[int, int | None]) -> ByteStream:
    """Starts to read a file of a preset, or a range of it, for `RemoteSource.read`.

    Args:
        request: The request for the file's object.
        file: The file.
        tag: The expected ETag, or None to accept any.
        byte_range: Offset of the first byte, and offset after the last byte, or None for the end.

    Raises:
        IntegrityError: the object has another ETag, or is stored with an encoding.
        RedirectRefusedError: the service redirects the request; see `ObjectRequest.send`.
        PresetNotFoundError, PresetAccessError, SourceUnavailableError: the service responds with an error.
    """
    send, error = partial(_send, request, file, tag), partial(_error, request, file)
    return http.read(request.handle, file, byte_range, send, error, _digest)


def check(request: ObjectRequest) -> None:
    """Checks that the service does not redirect a request for an object, which need not exist.

    Raises:
        RedirectRefusedError: the service redirects the request.
        SourceUnavailableError: there is no response.
    """
    response = request.send({"range": "bytes=0-0"})
    response.close()
    if response.status not in _NOT_REDIRECTED:
        raise http.error(request.handle, response.status, response.headers)


def _send(request: ObjectRequest, file: PresetFile, tag: str | None, headers: Mapping[str, str]) -> http.Response:
    response = request.send(headers if tag is None else {**headers, "if-match": tag})
    encoding = response.headers.get("content-encoding", "")
    if encoding not in _NOT_ENCODED:
        response.close()
        raise IntegrityError(request.handle, file.name, f"it is stored as {encoding}", "Store it without encoding")
    response.headers = {name: value for name, value in response.headers.items() if name != "content-encoding"}
    return response


def _error(request: ObjectRequest, file: PresetFile, response: http.Response) -> Exception:
    if response.status == 412:
        return replaced(request.handle, file.name)
    return response_error(request.handle, request.access, response.status, response.headers, _error_body(response))


def _error_body(response: http.Response) -> str:
    """Returns the beginning of an error's body, in which S3 names the error."""
    body = bytearray()
    with contextlib.suppress(Exception):  # the status is enough
        for chunk in response:
            body += chunk
            if len(body) > _LONGEST_ERROR:
                break
    return bytes(body[:_LONGEST_ERROR]).decode(errors="replace")


def _digest(response: http.Response) -> str | None:
    sha256 = response.headers.get("x-amz-meta-sha256", "")
    return f"sha256:{sha256}" if layout.is_sha256(sha256) else None
