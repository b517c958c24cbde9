"""The identity of a file: it changes when the file is replaced or written to."""

from __future__ import annotations

import os
from pathlib import Path

Identity = tuple[int, int, int, int]
"""Device, inode, bytes, and modification time in nanoseconds."""


def identity_at(path: Path) -> Identity | None:
    """Returns the identity of the file at a path, or None if there is no readable file."""
    try:
        return identity_of(path.stat())
    except OSError:
        return None


def identity_of(status: os.stat_result) -> Identity:
    """Returns the identity in the result of `os.stat` or `os.fstat`."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
