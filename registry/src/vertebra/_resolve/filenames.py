"""Names of files that a source may list: on every system, below a folder of the preset's own and nowhere else."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

MOST_FILES = 100_000
LONGEST = 1_000
"""Bytes of a name, and 255 of each of its parts, as file systems have it."""
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f:]")
_IMPOSSIBLE = re.compile(r'[<>"|?*]')
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
    return _clash(names)


def impossible_on_some(names: Iterable[str]) -> str | None:
    """Returns what keeps a preset from being written on some systems, though it can be read here, or None."""
    for name in names:
        if _IMPOSSIBLE.search(name):
            return f"it has a file named {name!r}, which some systems cannot have"
    return None


def _clash(names: Sequence[str]) -> str | None:
    """Returns which names cannot stand beside each other on every system, if there are any."""
    name, times = max(Counter(names).items(), key=lambda item: item[1], default=("", 0))
    if times > 1:
        return f"it lists {name!r} {times} times"
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(_folded(name), name)
        if other != name:
            return f"it lists {other!r} and {name!r}, which are one file where case or accents do not count"
    for name in names:
        for end in (place for place, letter in enumerate(name) if letter == "/"):
            file = seen.get(_folded(name[:end]))
            if file is not None:
                return f"it lists {file!r}, which would have to be a folder for {name!r}"
    return None


def _folded(name: str) -> str:
    """Returns the same for names that some file systems take for one: in case, or in how accents are composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


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
