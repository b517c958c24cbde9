"""The identity of a file: what tells it from another one that was put under its name, or from what it was before."""

from __future__ import annotations

import os
from pathlib import Path

Identity = tuple[int, int, int, int]
"""Device, number on the device, bytes, and time of the last change in nanoseconds."""


def identity_at(path: Path) -> Identity | None:
    """Returns the identity of the file at a path, or None if there is none that can be read."""
    try:
        return identity_of(path.stat())
    except OSError:
        return None


def identity_of(status: os.stat_result) -> Identity:
    """Returns the identity that a status, from `os.stat` or `os.fstat`, tells."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
