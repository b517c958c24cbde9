"""Rules for file names in a preset: valid on every system, and always inside the preset's folder.

A file whose name breaks a rule is left out of the preset's files, so that the rest can be used.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

_MOST_FOLDERS = 64
LONGEST = 1_000
"""The most bytes of a name; each segment has at most 255, as file systems require."""
_LONGEST_SHOWN = 200
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f:]")
_CONTROLS = re.compile(r"[\x80-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""C1 control characters, line breaks of Unicode, and the characters that reorder the text around them.

No name of any script needs them, and other programs print names as they are.
"""
_IMPOSSIBLE = re.compile(r'[<>"|?*]')
_OTHER_FOLDER = re.compile(r"(^|/)\.{0,2}(/|\Z)")
_REMOVED_END = re.compile(r"[. ](/|\Z)")
_DEVICES = re.compile(r"(^|/)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])([./]|\Z)", re.IGNORECASE)
"""Names that Windows reserves for devices, with any extension."""


def unsafe_names(names: Sequence[str]) -> dict[str, str]:
    """Returns the file names of a preset that must not be used, each with the reason.

    The rules are the strictest of all systems, so that a preset that works on one system works on every other. Names
    that differ only by case or accents are used: the cache stores files under keys, and copying notices the clash.
    """
    unsafe = {name: reason for name in names if (reason := _problem_with_one(name))}
    unsafe |= {name: f"is listed {times} times" for name, times in Counter(names).items() if times > 1}
    folded = {name: _folded(name).replace("/", "\0") for name in names if name not in unsafe}
    files = {key: name for name, key in folded.items()}
    outer = None  # sorted, with the least letter between segments, what would be in a folder comes after its name
    for name in sorted(folded, key=folded.__getitem__):
        if outer is not None and folded[name].startswith(f"{outer}\0"):
            unsafe[name] = f"is in a folder with the name of the file {files[outer]!r}"
        else:
            outer = folded[name]
    return unsafe


def is_hidden(name: str) -> bool:
    """Returns whether a file, or a folder in which it is, has a name with a leading dot."""
    return any(part.startswith(".") for part in name.split("/"))


def impossible_on_some(names: Iterable[str]) -> dict[str, str]:
    """Returns names of files that can be read here but not written on every system, each with the reason."""
    impossible, seen = {}, dict[str, str]()
    for name in names:
        other = seen.setdefault(_folded(name), name)
        if _IMPOSSIBLE.search(name):
            impossible[name] = "is not allowed on some systems"
        elif other != name:
            impossible[name] = f"is the same as {other!r} on systems that ignore case or accents"
    return impossible


def shown(name: str) -> str:
    """Returns a name for messages: shortened, and valid Unicode."""
    name = name.encode("utf-8", "backslashreplace").decode()
    return name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"


def _folded(name: str) -> str:
    """Returns one text for all names that some file system takes for the same: other case, or composed accents."""
    if name.isascii():
        return name.casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _problem_with_one(name: str) -> str | None:
    try:
        data = name.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if name.count("/") > _MOST_FOLDERS:
        return f"is in more than {_MOST_FOLDERS} folders"
    if _UNSAFE.search(name) or _OTHER_FOLDER.search(name):
        reason = "has a ':', so it " if ":" in name else ""
        return f"{reason}may be outside the preset's folder on some systems"
    if _CONTROLS.search(name):
        return "has a character that controls how text is displayed"
    if _REMOVED_END.search(name):
        return "ends with a dot or a space, which some systems remove"
    if _DEVICES.search(name):
        return "is reserved for a device on some systems"
    sizes = [len(part) for part in data.split(b"/")]
    if max(sizes) > 255 or sum(sizes) > LONGEST:
        return "is longer than file systems allow"
    return None
