"""The pace at which bytes come: who sends one now and then is as good as silent, and never times out."""

from __future__ import annotations

import time

from vertebra.errors import SourceUnavailableError
from vertebra.handles import PresetHandle

WINDOW, SLOWEST = 60.0, 1_000
"""Seconds in which there must be so many bytes each, on average."""


class StallDetector:
    """Watches one answer."""

    def __init__(self, handle: PresetHandle, name: str) -> None:
        """
        Args:
            handle: The preset.
            name: What of it is transferred.
        """
        self._handle, self._name = handle, name
        self._since, self._count = time.monotonic(), 0

    def note(self, count: int) -> None:
        """Is told that bytes have come.

        Raises:
            SourceUnavailableError: they are too few for the time.
        """
        self._count += count
        seconds = time.monotonic() - self._since
        if seconds < WINDOW:
            return
        if self._count < seconds * SLOWEST:
            problem = f"of {self._name} came {self._count:,} bytes in {seconds:.0f} s, which has no end"
            raise SourceUnavailableError(self._handle, problem)
        self._since, self._count = time.monotonic(), 0
