"""The identity of a file: it changes when the file is replaced or written to."""

from __future__ import annotations

import os
import time
from pathlib import Path

Identity = tuple[int, int, int, int]
"""Device, inode, bytes, and modification time in nanoseconds."""
_LEAST_AGE_NS = 2_000_000_000
"""The coarsest clock of a file system: two changes within it may have one modification time."""


def identity_at(path: Path) -> Identity | None:
    """Returns the identity of the file at a path, or None if there is no readable file."""
    try:
        return identity_of(path.stat())
    except OSError:
        return None


def identity_of(status: os.stat_result) -> Identity:
    """Returns the identity in the result of `os.stat` or `os.fstat`."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def is_settled(identity: Identity) -> bool:
    """Returns whether a file was written to so long ago that a change after now would change its identity."""
    return time.time_ns() - identity[-1] > _LEAST_AGE_NS
