"""Spans of OpenTelemetry: what takes time in a load, without cost in programs that trace nothing.

The API is never imported here. A program that traces has imported it, and set a provider; in any other one, a span is a
look-up in a dict. Spans have no exceptions and no local paths, because messages and paths may hold secrets.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
Value = str | int | bool
Setter = Callable[..., None]
"""Sets attributes of a span, by name; None sets nothing."""

_API = "opentelemetry.trace"
_PREFIX = "vertebra."
_HIDDEN = "***"
_PORT = re.compile(r"[^:]*:\d+")
_current: ContextVar[Any] = ContextVar("vertebra_span", default=None)
"""The innermost span of Vertebra that is recorded."""


@contextlib.contextmanager
def span(name: str, **attributes: Value | None) -> Iterator[Setter]:
    """Records a span while the block runs, and yields a function that sets further attributes.

    Args:
        name: Name of the span, after `vertebra.`.
        **attributes: Attributes, by their name after `vertebra.`.
    """
    trace = sys.modules.get(_API)
    get_tracer = getattr(trace, "get_tracer", None)  # which it lacks while another thread imports it
    if trace is None or get_tracer is None:
        yield _ignore
        return
    tracer = get_tracer("vertebra")
    options = {"record_exception": False, "set_status_on_exception": False}
    with tracer.start_as_current_span(f"{_PREFIX}{name}", **options) as recorded:
        if not recorded.is_recording():
            yield _ignore
            return
        token = _current.set(recorded)
        try:
            _set(recorded, attributes)
            yield lambda **more: _set(recorded, more)
        except BaseException as error:
            recorded.set_attribute("error.type", type(error).__name__)
            recorded.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            _current.reset(token)


def annotate(**attributes: Value | None) -> None:
    """Sets attributes of the innermost span of Vertebra, if one is recorded."""
    recorded = _current.get()
    if recorded is not None:
        _set(recorded, attributes)


def is_recording() -> bool:
    """Returns whether a span of Vertebra is recorded now."""
    return _current.get() is not None


def traced(name: str, describe: Callable[[Any], dict[str, Value | None]]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Returns a decorator that records a span for each call of a function.

    Args:
        name: Name of the span, after `vertebra.`.
        describe: Returns attributes for the result of the function; called only if the span is recorded.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with span(name) as set_attributes:
                result = function(*args, **kwargs)
                if set_attributes is not _ignore:
                    set_attributes(**describe(result))
                return result

        return call

    return decorate


def public_handle(handle: object) -> str:
    """Returns a handle for attributes: a local path as its last part, and without credentials before a host."""
    scheme, _, path = str(handle).rpartition("://")
    path = path.split("?")[0].split("%3F")[0]
    if path.startswith("/") or not scheme:
        last = path.rstrip("/").replace("\\", "/").rpartition("/")[2]
        return f"{scheme}:///…/{last}" if scheme else last
    first, slash, rest = path.partition("/")
    host = first.rpartition("@")[2] if ":" in first.rpartition("@")[0] else first
    if host != first:
        return f"{scheme}://{_HIDDEN}@{host}{slash}{rest}"
    if ":" in first and not _PORT.fullmatch(first):
        return f"{scheme}://{_HIDDEN}{slash}{rest}"
    return f"{scheme}://{path}"


def _set(recorded: Any, attributes: dict[str, Value | None]) -> None:
    for name, value in attributes.items():
        if value is not None:
            recorded.set_attribute(f"{_PREFIX}{name}", value)


def _ignore(**_: Value | None) -> None:
    """Sets nothing, because no span is recorded."""
