"""Names of files that a source may list: on every system, below a folder of the preset's own and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST_FILES = 100_000
LONGEST = 1_000
"""Bytes of a name, and 255 of each of its parts, as file systems have it."""
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f:]")
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices, whatever follows a dot."""


def problem_with(names: Sequence[str]) -> str | None:
    """Returns what is wrong with the names of a preset's files, or None if nothing is.

    The rules are those of all systems at once, so that a preset that can be used on one can be used on another.
    """
    if len(names) > MOST_FILES:
        return f"it lists {len(names):,} files; at most {MOST_FILES:,} are read"
    for name in names:
        reason = _problem_with_one(name)
        if reason:
            shown = name if len(name) <= 200 else f"{name[:200]}…"
            return f"it lists a file named {shown!r}, which {reason}"
    by_fold: dict[str, str] = {}
    for name in names:
        other = by_fold.setdefault(name.casefold(), name)
        if other != name:
            return f"it lists {other!r} and {name!r}, which are one file where case does not count"
    return None


def _problem_with_one(name: str) -> str | None:
    parts = name.split("/")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return "is no Unicode text"
    if _UNSAFE.search(name) or any(part in ("", ".", "..") for part in parts):
        return "may lead out of its folder"
    if any(part[-1] in ". " for part in parts):
        return "ends with a dot or a space, which some systems leave out"
    if any(_DEVICES.match(part) for part in parts):
        return "some systems keep for a device"
    if max(sizes) > 255 or sum(sizes) > LONGEST:
        return "is longer than file systems take"
    return None
