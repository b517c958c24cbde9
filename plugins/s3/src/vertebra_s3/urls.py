"""Handles for the URLs of objects and of the consoles of object stores, for messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from vertebra import PresetHandle
from vertebra_s3.layout import location_of

_AMAZON = r"s3(?:-accelerate)?(?:[.-](?:dualstack[.-])?[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?"
_AMAZON_HOST = re.compile(rf"(?:(?P<bucket>[a-z0-9][a-z0-9.-]*)\.)?{_AMAZON}")
_AMAZON_CONSOLE = re.compile(r"(?:s3\.|[a-z0-9-]+\.)?console\.aws\.amazon\.com")
_GOOGLE_HOST = re.compile(r"(?:(?P<bucket>[a-z0-9][a-z0-9._-]*)\.)?storage\.(?:googleapis|cloud\.google)\.com")
_AZURE_HOST = re.compile(r"[a-z0-9]+\.(?:blob|dfs)\.core\.windows\.net")
_ARN = re.compile(r"arn:aws[a-z-]*:s3:::")
_OTHER_SCHEMES = {"s3": ("s3a", "s3n"), "gs": ("gcs",), "az": ("azure", "abfs", "abfss", "wasb", "wasbs")}
"""Schemes that other tools have for the same objects."""
_FILE = re.compile(r"[^/]+\.(json|safetensors|h5|txt|model|md|bin)")
"""Names of files of a preset: the preset is the folder that has them."""


def handle_of(scheme: str, text: str) -> PresetHandle | None:
    """Returns the handle with a scheme for the URL of an object or folder, or None if it is of another service.

    Raises:
        HandleError: there cannot be such a handle.
    """
    if scheme == "s3" and (arn := _ARN.match(text)):
        path = text[arn.end() :]
    else:
        url = urlsplit(text if "://" in text else f"https://{text}")
        path = _path_with_other_scheme(scheme, url) or _READERS[scheme](url, url.netloc.lower()) or ""
    names = [name for name in path.split("/") if name]
    if len(names) > 1 and _FILE.fullmatch(names[-1]):
        names = names[:-1]
    if not names:
        return None
    handle = PresetHandle(scheme, "/".join(names))
    location_of(handle)  # raises an error if the bucket has no valid name
    return handle


def _path_with_other_scheme(scheme: str, url: SplitResult) -> str | None:
    """Returns bucket and key of a URL such as `s3a://bucket/key` or `abfs://container@account/key`."""
    if url.scheme not in _OTHER_SCHEMES[scheme]:
        return None
    return f"{url.netloc.partition('@')[0]}{unquote(url.path)}"


def _amazon(url: SplitResult, host: str) -> str | None:
    if _AMAZON_CONSOLE.fullmatch(host):
        page = re.fullmatch(r"/s3/(?:buckets|object)/([^/]+)/?", url.path)
        return page and f"{page[1]}/{parse_qs(url.query).get('prefix', [''])[0]}"
    return _path_at(_AMAZON_HOST, url, host)


def _google(url: SplitResult, host: str) -> str | None:
    if host == "console.cloud.google.com":
        page = re.fullmatch(r"/storage/browser/(?:_details/)?([^;]+)(?:;.*)?", unquote(url.path))
        return page and page[1]
    return _path_at(_GOOGLE_HOST, url, host)


def _azure(url: SplitResult, host: str) -> str | None:
    return unquote(url.path) if _AZURE_HOST.fullmatch(host) else None


def _path_at(pattern: re.Pattern[str], url: SplitResult, host: str) -> str | None:
    """Returns bucket and key of a URL whose bucket is either in its host or at the start of its path."""
    match = pattern.fullmatch(host)
    return match and f"{match['bucket'] or ''}{unquote(url.path)}"


_READERS: Mapping[str, Callable[[SplitResult, str], str | None]] = {"s3": _amazon, "gs": _google, "az": _azure}
