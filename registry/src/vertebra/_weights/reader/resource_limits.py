"""Limits that a reading program sets itself before it reads a file; the child process runs this module alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path


def limit_resources(job: Mapping[str, int]) -> None:
    """Limits processor time, memory, written bytes and open files of this process, for good.

    Args:
        job: The limits: `seconds`, `memory` in bytes beyond the present memory, `output` in bytes, and `open_files`.
    """
    try:
        import resource
    except ImportError:  # Windows; the parent's time limit holds everywhere
        return
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: job["seconds"],
        resource.RLIMIT_FSIZE: job["output"],
        resource.RLIMIT_NOFILE: job["open_files"],
    }
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + job["memory"]
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (most, most))
