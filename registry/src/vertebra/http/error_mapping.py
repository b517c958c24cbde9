"""The mapping from HTTP statuses, and from requests without a complete response, to Vertebra's errors."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping

from vertebra.errors import PresetAccessError, PresetError, PresetNotFoundError, SourceUnavailableError
from vertebra.handles import PresetHandle
from vertebra.http.origins import origin, proxy_for

_TRANSIENT = (408, 425, 429)
_LONGEST_WAIT = 3600.0


def error(
    handle: PresetHandle, status: int, headers: Mapping[str, str], reason: str = "", path: str = ""
) -> PresetError:
    """Returns the error that an HTTP status means, unless the service gives a more precise reason.

    Args:
        handle: The preset.
        status: The status, 400 or more.
        headers: The response's headers, by lower-case name.
        reason: The service's own error code, if it has one.
        path: Path of the requested URL, without its query, which a 404 shows: the author of a source may be wrong.
    """
    detail = f"HTTP {status}{f' ({reason})' if reason else ''}"
    if status in _TRANSIENT or status >= 500:
        return SourceUnavailableError(handle, detail, retry_after(headers.get("retry-after")))
    if status in (401, 403):
        return PresetAccessError(
            handle, detail, "Log in with a token that may read the preset, or ask its owner for access"
        )
    if status in (404, 410):
        requested = f" for {path}" if path else ""
        return PresetNotFoundError(handle, f"the service has nothing at this handle ({detail}{requested})")
    return PresetError(
        f"Preset {str(handle)!r}: the service refused the request with {detail}. Check the handle and the endpoint of "
        "the service."
    )


def unavailable(handle: PresetHandle, url: str, detail: str) -> SourceUnavailableError:
    """Returns the error for a request without a complete response; of the URL, it shows the origin only.

    Args:
        handle: The preset.
        url: The URL that was requested.
        detail: The reason, without secrets.
    """
    route = " through the proxy that HTTPS_PROXY or another variable names" if proxy_for(url) else ""
    return SourceUnavailableError(handle, f"no complete response from {origin(url)}{route} ({detail})")


def retry_after(value: str | None) -> float | None:
    """Returns the seconds to wait by a `Retry-After` header, which is a number or a date; None if it is neither."""
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(value)
        return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_WAIT)
    import email.utils

    with contextlib.suppress(TypeError, ValueError):
        return min(max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0), _LONGEST_WAIT)
    return None
