"""Lets Python's collector of cyclic garbage wait while a program loads its first models.

The collector looks through all objects of a program after some hundreds of new ones. With the modules of a framework
imported, that is a third of the time of a load, in which nearly all objects stay in use. Most programs load a few
models and no more. In one that loads on and on, the collector has to run: only it frees the models that are dropped.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator

_MOST_BLOCKS = 8


class _Pause:
    """The blocks of all threads in which the collector waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = self._begun = 0
        self._was_enabled = False

    def begin(self) -> bool:
        """Begins a block; returns False if there were enough of them."""
        with self._lock:
            if self._begun == _MOST_BLOCKS:
                return False
            self._begun += 1
            self._running += 1
            if self._running == 1:
                self._was_enabled = gc.isenabled()
                gc.disable()
            return True

    def end(self) -> None:
        with self._lock:
            self._running = max(self._running - 1, 0)  # 0 already in a process that was forked within the block
            if not self._running and self._was_enabled:
                gc.enable()

    def end_all(self) -> None:
        """Ends all blocks in a forked process, which does not have the threads in which they run."""
        self._lock = threading.Lock()
        if self._running and self._was_enabled:
            gc.enable()
        self._running = 0


_pause = _Pause()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _pause.end_all())


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Lets the collector wait within the block, in all threads, if the process has not had eight such blocks before."""
    if not _pause.begin():
        yield
        return
    try:
        yield
    finally:
        _pause.end()
