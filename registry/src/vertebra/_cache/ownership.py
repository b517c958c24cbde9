"""Ownership of unfinished files: which process began one, and whether it is still at work."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

ABANDONED = "left-0"
"""Stands for the owner of what its owner has given up."""


def _unfinished_name(key: str) -> str:
    return f"{key}.{owner_tag()}.{secrets.token_hex(4)}.tmp"


def owner_tag() -> str:
    """Returns a text that tells this process from all others, of other machines and containers, too."""
    return f"{_machine()}-{os.getpid()}"


def is_abandoned(path: Path, now: float, lease: float) -> bool:
    """Says whether whoever began a file is gone: by its number on this machine, else by how long it lies untouched."""
    if is_surely_abandoned(path):
        return True
    if _number_here(path) is not None:
        return False
    try:
        return now - path.lstat().st_mtime > lease
    except OSError:
        return False


def is_surely_abandoned(path: Path) -> bool:
    """Says whether whoever began a file is gone for certain."""
    number = _number_here(path)
    return ABANDONED in path.name.split(".") or (number is not None and not _is_running(number))


def _number_here(path: Path) -> int | None:
    """Returns the number of the process of this machine that began a file, or None if it was of another one."""
    machine, _, number = "".join(path.name.split(".")[1:2]).rpartition("-")
    return int(number) if machine == _machine() and number.isdigit() and os.name == "posix" else None


def _is_running(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _machine() -> str:
    """Numbers of processes mean something only within one start of a machine, and within one container."""
    facts = [os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            facts.append(str(Path(path).readlink()) if path.endswith("pid") else Path(path).read_text())
    return hashlib.sha256("".join(facts).encode()).hexdigest()[:12]
