"""Ownership of unfinished files: the process that began a file, and whether it still runs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

ABANDONED = "left-0"
"""Owner tag of a partial file that its process gave up."""


def unfinished_name(key: str) -> str:
    """Returns a new name `KEY.OWNER.RANDOM.tmp` for an unfinished file or folder of this process."""
    return f"{key}.{owner_tag()}.{secrets.token_hex(4)}.tmp"


def owner_tag() -> str:
    """Returns a tag that identifies this process among all processes of all machines and containers."""
    return f"{_machine()}-{os.getpid()}"


def is_abandoned(path: Path, now: float, lease: float) -> bool:
    """Returns whether a file is abandoned: by its process id on this machine, otherwise by its lease in seconds."""
    if is_surely_abandoned(path):
        return True
    if _local_pid(path) is not None:
        return False
    try:
        return now - path.lstat().st_mtime > lease
    except OSError:
        return False


def is_surely_abandoned(path: Path) -> bool:
    """Returns whether a file is abandoned for certain: it was given up, or its process on this machine has ended."""
    pid = _local_pid(path)
    return _owner(path) == ABANDONED or (pid is not None and not _is_running(pid))


def _owner(path: Path) -> str:
    """Returns the owner tag in a name; the key before it may have dots."""
    return "".join(path.name.split(".")[-3:-2])


def _local_pid(path: Path) -> int | None:
    """Returns the id of the process that began a file, or None if that process is on another machine."""
    machine, _, pid = _owner(path).rpartition("-")
    return int(pid) if machine == _machine() and pid.isdigit() and os.name == "posix" else None


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _machine() -> str:
    """Returns an id of this boot of the machine and this container; process ids are unique only within both."""
    facts = [os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            facts.append(str(Path(path).readlink()) if path.endswith("pid") else Path(path).read_text())
    return hashlib.sha256("".join(facts).encode()).hexdigest()[:12]
