"""Stall detection: a server that trickles bytes never hits the socket timeout, so a minimum throughput is checked."""

from __future__ import annotations

import time

from vertebra.errors import SourceUnavailableError
from vertebra.handles import PresetHandle

WINDOW, SLOWEST = 60.0, 1_000
"""Length of a window in seconds, and the smallest average of bytes per second in a window."""


class StallDetector:
    """Watches the throughput of one response."""

    def __init__(self, handle: PresetHandle, name: str) -> None:
        """
        Args:
            handle: The preset.
            name: Name of the file that is downloaded.
        """
        self._handle, self._name = handle, name
        self._since, self._count = time.monotonic(), 0

    def record(self, count: int) -> None:
        """Counts bytes that arrived.

        Raises:
            SourceUnavailableError: the throughput of the window is too low.
        """
        self._count += count
        seconds = time.monotonic() - self._since
        if seconds < WINDOW:
            return
        if self._count < seconds * SLOWEST:
            problem = f"{self._name} stalled: {self._count:,} bytes arrived in {seconds:.0f} s"
            raise SourceUnavailableError(self._handle, problem)
        self._since, self._count = time.monotonic(), 0
