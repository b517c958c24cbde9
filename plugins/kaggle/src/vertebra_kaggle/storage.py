"""Requests to Kaggle's file storage, by signed URLs and without credentials."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vertebra import PresetHandle, http
from vertebra_kaggle.client import ENDPOINT_SETTING, WAITS, endpoint, importing


def get(handle: PresetHandle, url: str, headers: Mapping[str, str]) -> http.Response:
    """Requests a URL and follows its redirects.

    Returns:
        The response, with any status except those of redirects.

    Raises:
        SourceUnavailableError: there is no response.
        RedirectRefusedError: a redirect must not be followed.
        ClientMissingError: kagglehub is not installed.
    """
    trusted = _certificates()
    return http.get(handle, endpoint(), url, headers, setting=ENDPOINT_SETTING, timeouts=WAITS, certificates=trusted)


def _certificates() -> str:
    """Returns the path of the certificates that Kaggle's own client trusts."""
    with importing():
        from requests.certs import where
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or where()
