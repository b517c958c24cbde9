"""Keeps the standard output for the command: Ray's threads print reports of failed tasks there, whatever it is told."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def own_stdout() -> Iterator[None]:
    """Sends the prints of other threads to stderr, as stdout may be the JSON of the command."""
    with contextlib.redirect_stdout(_OfThread(sys.stdout)):  # type: ignore[type-var]
        yield


class _OfThread:
    """The standard output of the thread that made this object.

    Args:
        stdout: The standard output.
    """

    def __init__(self, stdout: Any) -> None:
        self._stdout, self._thread = stdout, threading.get_ident()

    def write(self, text: str) -> Any:
        """Writes a text of the thread to stdout, and one of another thread to stderr."""
        return (self._stdout if threading.get_ident() == self._thread else sys.stderr).write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)
