"""Where a service leads to: the client library follows redirects, and takes a session token along to other hosts.

So whoever has one asks for an object by a signed address first, following nothing: what an address holds, a redirect
leaves behind.
"""

from __future__ import annotations

import http.client
import urllib.request
from datetime import timedelta
from typing import Any
from urllib.error import HTTPError

from vertebra import PresetHandle, redirects, web
from vertebra.errors import RedirectRefusedError
from vertebra_s3.access import ENDPOINT_SETTING, Access

_SECONDS = 10.0
_VALID = timedelta(seconds=60)
_CLEAR = (200, 206, 400, 401, 403, 404, 416)
"""Statuses of a service that leads nowhere, whether the object is there or not."""
_ALONG = "which would get the session token of your credentials"


def check_place(handle: PresetHandle, access: Access, store: Any, key: str) -> None:
    """Asks whether an object is where it is said to be.

    Args:
        handle: The preset.
        access: How the service is asked.
        store: The client.
        key: Of the object, which need not be there.

    Raises:
        RedirectRefusedError: the service sends whoever asks to another one.
        SourceUnavailableError: there is no answer.
    """
    import obstore

    url = obstore.sign(store, "GET", key, _VALID)
    status, location = _answer(handle, url)
    if location is not None:  # whoever is led on at the same place may be led elsewhere from there
        target = redirects.Hops(handle, access.place, url, ENDPOINT_SETTING).next(url, location)
        raise RedirectRefusedError(handle, redirects.origin(target), _ALONG, ENDPOINT_SETTING)
    if status not in _CLEAR:
        raise web.error(handle, status, {})


def _answer(handle: PresetHandle, url: str) -> tuple[int, str | None]:
    """Returns the status of an answer, and where it leads to, if it does."""
    request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})  # noqa: S310 (the endpoint is http or https)
    try:
        with urllib.request.build_opener(_Following()).open(request, timeout=_SECONDS) as answer:
            return answer.status, None
    except HTTPError as error:
        with error:
            return error.code, error.headers.get("location") if 300 <= error.code < 400 else None
    except (OSError, http.client.HTTPException) as error:
        raise web.unavailable(handle, url, type(getattr(error, "reason", error)).__name__) from None


class _Following(urllib.request.HTTPRedirectHandler):
    """Follows nothing."""

    def redirect_request(self, *_: object) -> None:
        return None
