"""URLs: their origin (scheme, host and port), their proxy, and the removal of secrets from them."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from urllib.parse import urlsplit

_HAS_SETTINGS = sys.platform in ("darwin", "win32", "cygwin")
"""Whether the system has settings of proxies besides the environment."""
_QUERY = re.compile(r"(https?://[^\s?\"'>]*|\"[A-Z]+ /[^\s?\"'>]*)\?[^\s\"'>]*")


def origin(url: str) -> str:
    """Returns the origin of a URL, for messages: without the query, which may be signed, and without credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def same_origin(one: str, other: str) -> bool:
    """Returns whether two URLs have the same scheme, host and port."""
    return _origin(one) == _origin(other)


def proxy_for(url: str) -> str | None:
    """Returns the URL of the proxy that the environment sets for a URL, or None if requests go to the host directly."""
    from urllib.request import proxy_bypass  # imports http.client, which most commands do not need

    parts, proxies = urlsplit(url), _proxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    hosts = {parts.hostname or "", parts.netloc.rpartition("@")[2]}  # NO_PROXY may name a port, too
    if not proxy or any(proxy_bypass(host) for host in hosts):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _proxies() -> dict[str, str]:
    """Returns the proxies by scheme, as they are now."""
    if _HAS_SETTINGS:
        from urllib.request import getproxies

        return getproxies()
    # A CGI program must not use HTTP_PROXY; Python reads the other names in any case.
    names = [name for name in os.environ if name[-6:].lower() == "_proxy" or name == "REQUEST_METHOD"]
    return _of_variables(*((name, os.environ.get(name)) for name in names))


@functools.lru_cache(maxsize=8)
def _of_variables(*_variables: tuple[str, str | None]) -> dict[str, str]:
    """Returns the proxies by scheme for variables of the environment; finding them takes Python a tenth of a ms."""
    from urllib.request import getproxies

    return getproxies()


def without_queries(text: str) -> str:
    """Returns a text without the queries of the URLs in it: the query of a signed URL grants access like a password."""
    return _QUERY.sub(r"\1", text)


def hide_queries(*loggers: str) -> None:
    """Removes the queries of URLs from the messages of a library's loggers.

    Args:
        loggers: Names of the loggers.
    """
    for name in loggers:
        logging.getLogger(name).addFilter(_without_queries)  # the same filter is not added twice


class _WithoutQueries(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_queries(record.getMessage()), ()
        return True


_without_queries = _WithoutQueries()


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme.endswith("s") else 80)
