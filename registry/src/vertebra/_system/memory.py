"""The memory of this machine, from the operating system and the container's limit."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of this machine, in bytes; None where it is unknown."""

    total: int | None
    free: int | None
    """Memory available without swapping."""


def host_memory() -> Memory:
    """Returns the memory of the machine, or of the container that this process is in."""
    total, free = _pages("SC_PHYS_PAGES"), _available()
    limit, used = _container("memory.max"), _container("memory.current")
    if limit is not None and (total is None or limit < total):
        room = limit - (used or 0) + _reclaimable()
        return Memory(limit, room if free is None else min(free, room))
    return Memory(total, free)


def _available() -> int | None:
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB$", _MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        match = None
    return int(match[1]) * 1024 if match else _pages("SC_AVPHYS_PAGES")


def _pages(name: str) -> int | None:
    try:
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _reclaimable() -> int:
    """Returns the bytes of cached file pages that the system frees on demand."""
    try:
        match = re.search(r"^inactive_file (\d+)$", (_CONTAINER / "memory.stat").read_text("ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0


def _container(name: str) -> int | None:
    try:
        return int((_CONTAINER / name).read_text(encoding="ascii"))
    except (OSError, ValueError):  # not in a container, or without a limit
        return None
