"""HTTP for plugins: `Transport` for sources without a client library, and building blocks for sources with one.

A source without a client library creates a `Transport`, which needs the extra `vertebra[http]`. A source with a client
library wraps each response of it in a `Response`; `follow_redirects`, `SignedUrlCache`, `read` and `error` then do the
rest. Importing this package imports no HTTP library.
"""

from vertebra.http.client import TIMEOUTS, get, send
from vertebra.http.credentials import check_credential
from vertebra.http.error_mapping import error, retry_after, unavailable
from vertebra.http.origins import (
    hide_queries,
    origin,
    proxy_for,
    same_origin,
    without_queries,
)
from vertebra.http.redirects import RedirectPolicy, follow_redirects
from vertebra.http.responses import Response, byte_stream, range_header, read, read_all, read_json
from vertebra.http.signed_urls import EXPIRED, SignedUrlCache
from vertebra.http.transport import Transport

__all__ = [
    "EXPIRED",
    "TIMEOUTS",
    "RedirectPolicy",
    "Response",
    "SignedUrlCache",
    "Transport",
    "byte_stream",
    "check_credential",
    "error",
    "follow_redirects",
    "get",
    "hide_queries",
    "origin",
    "proxy_for",
    "range_header",
    "read",
    "read_all",
    "read_json",
    "retry_after",
    "same_origin",
    "send",
    "unavailable",
    "without_queries",
]
