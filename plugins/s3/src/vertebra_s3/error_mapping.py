"""Maps errors of the client library, and responses of S3, to Vertebra's errors.

Apart from its status and S3's code of the error, nothing of an answer is repeated: S3 quotes keys and signatures.
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
_NO_LOCATION = "Received redirect without LOCATION"
_NOT_A_PART = "non-partial response"
_BROKEN = {
    "kind: Connect": "it cannot be connected to",
    "kind: Timeout": "it stopped answering",
    "kind: Interrupted": "the connection broke",
}
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")


def refusal(handle: PresetHandle, access: Access, error: Exception, writing: bool = False) -> PresetError:
    """Returns the error that one of the client library means."""
    said, status, code = _parts(error)
    if is_no_bucket(error) or (writing and status == 404):
        return PresetNotFoundError(handle, f"{access.endpoint} has no bucket {location_of(handle).bucket!r}")
    if isinstance(error, FileNotFoundError) or status == 404:
        return PresetNotFoundError(handle, "an object that it consists of is missing")
    if isinstance(error, ValueError):
        return PresetNotFoundError(handle, "no object can have its name")
    if type(error).__name__ == "InvalidPathError":
        problem = "below it is an object whose key is no path, as with '//' or '..'"
        return PresetError(f"Preset {str(handle)!r}: {problem}. Rename it, or move the preset to a prefix of its own.")
    if status is not None or _NO_LOCATION in said:
        return _by_status(handle, access, status or 301, {}, code, writing)
    return SourceUnavailableError(handle, f"no whole answer from {access.endpoint}: {_broken(str(error))}")


def answered(handle: PresetHandle, access: Access, status: int, headers: Mapping[str, str], body: str) -> PresetError:
    """Returns the error that a response to a request for an object means."""
    code = match[1] if (match := _CODE.search(body)) else ""
    if code == "NoSuchBucket":
        return PresetNotFoundError(handle, f"{access.endpoint} has no bucket {location_of(handle).bucket!r}")
    if status == 404:
        return PresetNotFoundError(handle, "an object that it consists of is missing")
    return _by_status(handle, access, status, headers, code, writing=False)


def _by_status(
    handle: PresetHandle, access: Access, status: int, headers: Mapping[str, str], code: str, writing: bool
) -> PresetError:
    if code in _REGION or status == 301:
        problem = f"its bucket is not in the region {dict(access.options).get('region')}"
        return PresetError(f"Preset {str(handle)!r}: {problem}. Set AWS_REGION to where it is.")
    if code in _LOGIN or status in (401, 403):
        return _no_access(handle, access, f"HTTP {status}{f', {code}' if code else ''}", writing)
    return http.error(handle, status, headers, code)


def replaced(handle: PresetHandle, name: str) -> IntegrityError:
    """Returns the error for a file that is another one than was looked up."""
    remedy = "Load it again; what vertebra push has put there does not change"
    return IntegrityError(handle, name, "it was replaced after the preset was looked up", remedy)


def is_no_bucket(error: Exception) -> bool:
    """Says whether the error means that the bucket does not exist."""
    return _parts(error)[2] == "NoSuchBucket"


def is_about_ranges(error: Exception) -> bool:
    """Says whether a server does not give parts of objects."""
    said, status, _ = _parts(error)
    return status == 416 or _NOT_A_PART in said


def _parts(error: Exception) -> tuple[str, int | None, str]:
    """Returns what an error says, without the library's own structures, the HTTP status, and S3's code."""
    said = str(error).partition("\n\nDebug source")[0]
    status, code = _STATUS.search(said), _CODE.search(said)
    return said, int(status[1]) if status else None, code[1] if code else ""


def _no_access(handle: PresetHandle, access: Access, detail: str, writing: bool) -> PresetAccessError:
    what = "write there" if writing else "read it, or it is missing and you may not list the bucket"
    problem = f"{access.endpoint} does not let you {what} ({detail}; {access.login})"
    return PresetAccessError(handle, problem, "Use credentials that may, or ask the owner of the bucket")


def _broken(full: str) -> str:
    found = [words for kind, words in _BROKEN.items() if kind in full]
    proxy = [name for name in _PROXIES if os.environ.get(name, "").strip()]
    if not found:
        return "it does not answer as an object store does"
    return found[0] + (f" ({proxy[0]} names a proxy, which may be in the way)" if proxy else "")
