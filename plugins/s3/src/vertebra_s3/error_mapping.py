"""Maps errors of the client library, and responses of S3, to Vertebra's errors.

Messages have only the status and S3's error code of a response: its text may quote keys and signatures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from vertebra import PresetHandle, http
from vertebra.errors import (
    IntegrityError,
    PresetAccessError,
    PresetError,
    PresetNotFoundError,
    SourceUnavailableError,
)
from vertebra_s3.access import Access
from vertebra_s3.layout import location_of

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_LOGIN = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId", "SignatureDoesNotMatch")
_REGION = ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
_NO_LOCATION = "Received redirect without LOCATION"
_NOT_PARTIAL = "non-partial response"
_BROKEN = {
    "kind: Connect": "the connection failed",
    "kind: Timeout": "the connection timed out",
    "kind: Interrupted": "the connection broke",
}
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")


def refusal(handle: PresetHandle, access: Access, error: Exception, writing: bool = False) -> PresetError:
    """Returns the error for an exception of the client library."""
    text, status, code = _parse(error)
    if is_no_bucket(error) or (writing and status == 404):
        return PresetNotFoundError(handle, f"{access.endpoint} has no bucket {location_of(handle).bucket!r}")
    if isinstance(error, FileNotFoundError) or status == 404:
        return PresetNotFoundError(handle, "one of its objects is missing")
    if isinstance(error, ValueError):
        return PresetNotFoundError(handle, "its path is not a valid key")
    if type(error).__name__ == "InvalidPathError":
        problem = "below its prefix is an object whose key is not a path, as with '//' or '..'"
        return PresetError(f"Preset {str(handle)!r}: {problem}. Rename it, or move the preset to a prefix of its own.")
    if status is not None or _NO_LOCATION in text:
        return _by_status(handle, access, status or 301, {}, code, writing)
    return SourceUnavailableError(
        handle, f"no complete response from {access.endpoint}: {_connection_problem(str(error))}"
    )


def response_error(
    handle: PresetHandle, access: Access, status: int, headers: Mapping[str, str], body: str
) -> PresetError:
    """Returns the error for a response to a request for an object."""
    code = match[1] if (match := _CODE.search(body)) else ""
    if code in _NO_BUCKET:
        return PresetNotFoundError(handle, f"{access.endpoint} has no bucket {location_of(handle).bucket!r}")
    if status == 404:
        return PresetNotFoundError(handle, "one of its objects is missing")
    return _by_status(handle, access, status, headers, code, writing=False)


def _by_status(
    handle: PresetHandle, access: Access, status: int, headers: Mapping[str, str], code: str, writing: bool
) -> PresetError:
    region = dict(access.options).get("region")
    if code in _REGION or (status == 301 and region):
        problem = f"its bucket is not in the region {region}"
        return PresetError(f"Preset {str(handle)!r}: {problem}. Set AWS_REGION to the bucket's region.")
    if code in _LOGIN or status in (401, 403):
        return _no_access(handle, access, f"HTTP {status}{f', {code}' if code else ''}", writing)
    return http.error(handle, status, headers, code)


def no_login(handle: PresetHandle, access: Access) -> PresetAccessError:
    """Returns the error for a write without credentials, for which the client library would ask a cloud machine."""
    return _no_access(handle, access, "writing needs credentials", writing=True)


def replaced(handle: PresetHandle, name: str) -> IntegrityError:
    """Returns the error for a file that was replaced since the preset was looked up."""
    remedy = "Load it again; presets that vertebra push has written never change"
    return IntegrityError(handle, name, "it was replaced after the preset was looked up", remedy)


def is_no_bucket(error: Exception) -> bool:
    """Returns whether an error means that the bucket does not exist."""
    return _parse(error)[2] in _NO_BUCKET


def is_range_error(error: Exception) -> bool:
    """Returns whether an error means that the server does not support ranges."""
    text, status, _ = _parse(error)
    return status == 416 or _NOT_PARTIAL in text


def _parse(error: Exception) -> tuple[str, int | None, str]:
    """Returns the text of an error without the library's debug output, the HTTP status, and S3's code."""
    text = str(error).partition("\n\nDebug source")[0]
    status, code = _STATUS.search(text), _CODE.search(text)
    return text, int(status[1]) if status else None, code[1] if code else ""


def _no_access(handle: PresetHandle, access: Access, detail: str, writing: bool) -> PresetAccessError:
    action = "write to its bucket" if writing else "read it, or it is missing and you may not list the bucket"
    problem = f"{access.endpoint} does not let you {action} ({detail}; {access.login})"
    return PresetAccessError(handle, problem, "Use credentials with access, or ask the owner of the bucket")


def _connection_problem(text: str) -> str:
    problems = [problem for kind, problem in _BROKEN.items() if kind in text]
    proxy = [name for name in _PROXIES if os.environ.get(name, "").strip()]
    if not problems:
        return "it does not respond as an object store does"
    return problems[0] + (f" ({proxy[0]} names a proxy, which may be in the way)" if proxy else "")
