"""A lock on a folder: two processes that read, change and replace a file in it do so one after the other."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder while the block runs.

    The system removes the lock when the process ends, and no file is left behind. Without such locks, as on Windows and
    on some network file systems, and in a folder that does not exist, the block runs unlocked.
    """
    with contextlib.ExitStack() as stack:
        if sys.platform != "win32":
            import fcntl

            with contextlib.suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
