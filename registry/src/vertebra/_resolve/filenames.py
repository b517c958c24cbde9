"""Rules for file names in a preset: valid on every system, and always inside the preset's folder."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

MOST_FILES = 100_000
LONGEST = 1_000
"""The most bytes of a name; each segment has at most 255, as file systems require."""
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f:]")
_IMPOSSIBLE = re.compile(r'[<>"|?*]')
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)
"""Names that Windows reserves for devices, with any extension."""


def problem_with(names: Sequence[str]) -> str | None:
    """Returns the problem with the file names of a preset, or None if they are valid.

    The rules are the strictest of all systems, so that a preset that works on one system works on every other.
    """
    if len(names) > MOST_FILES:
        return f"it lists {len(names):,} files; at most {MOST_FILES:,} are allowed"
    for name in names:
        reason = _problem_with_one(name)
        if reason:
            shown = name if len(name) <= 200 else f"{name[:200]}…"
            return f"it lists a file named {shown!r}, which {reason}"
    return _clash(names)


def impossible_on_some(names: Iterable[str]) -> str | None:
    """Returns why a preset that can be read here cannot be written on some systems, or None."""
    for name in names:
        if _IMPOSSIBLE.search(name):
            return f"it has a file named {name!r}, which is not allowed on some systems"
    return None


def _clash(names: Sequence[str]) -> str | None:
    """Returns the clash between file names that cannot exist together on every system, or None."""
    name, times = max(Counter(names).items(), key=lambda item: item[1], default=("", 0))
    if times > 1:
        return f"it lists {name!r} {times} times"
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(_folded(name), name)
        if other != name:
            return f"it lists {other!r} and {name!r}, which are the same file on systems that ignore case or accents"
    for name in names:
        for end in (index for index, letter in enumerate(name) if letter == "/"):
            file = seen.get(_folded(name[:end]))
            if file is not None:
                return f"it lists {file!r}, which must also be a folder for {name!r}"
    return None


def _folded(name: str) -> str:
    """Returns one text for all names that some file system takes for the same: other case, or composed accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _problem_with_one(name: str) -> str | None:
    parts = name.split("/")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if _UNSAFE.search(name) or any(part in ("", ".", "..") for part in parts):
        return "may be outside the preset's folder"
    if any(part[-1] in ". " for part in parts):
        return "ends with a dot or a space, which some systems remove"
    if any(_DEVICES.match(part) for part in parts):
        return "is reserved for a device on some systems"
    if max(sizes) > 255 or sum(sizes) > LONGEST:
        return "is longer than file systems allow"
    return None
