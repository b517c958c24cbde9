"""`PresetHandle`: where a preset is, as `scheme://path[@revision]`; parse and str are exact inverses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from vertebra.errors import HandleError

_CAPITAL = re.compile(r"[A-Z]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
# These would end the path, start a revision, or mean something else to a URL parser, so they are percent-encoded.
_ENCODED = re.compile(r"[%@?#\\\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class PresetHandle:
    """The address of a preset.

    `PresetHandle.parse(str(handle)) == handle` for every handle, and `str(PresetHandle.parse(text)) == text` for
    every text that parses: a text with two spellings is refused, so that a handle can be a key in a lockfile.

    Raises:
        HandleError: a part is empty or holds what it must not hold.
    """

    scheme: str
    """Names the source that can read it: lower case, as in a URL."""
    path: str
    """Path within the source, decoded; no empty, `.` or `..` segments."""
    revision: str | None = None
    """Version, branch or commit, or None for whatever the source holds now."""

    def __post_init__(self) -> None:
        text = str(self)
        if not _SCHEME.fullmatch(self.scheme):
            raise HandleError(text, f"the scheme {self.scheme!r} must be lower-case letters, digits, '+', '.' or '-'")
        for part in (self.path, self.revision):
            if part is not None:
                _check_segments(text, part)
        if self.revision is not None and "/" in self.revision[:1] + self.revision[-1:]:
            raise HandleError(text, "a revision neither starts nor ends with '/'")

    @classmethod
    def parse(cls, text: str) -> PresetHandle:
        """Reads a handle from its text form.

        Raises:
            HandleError: the text has no scheme, or has a part that a handle must not have.
        """
        scheme, separator, rest = text.partition("://")
        if not separator:
            raise HandleError(text, "it has no scheme")
        path, at, revision = rest.rpartition("@")
        if not at:
            path, revision = rest, ""
        if at and not revision:
            raise HandleError(text, "the revision after '@' is empty")
        if _CAPITAL.search(scheme):
            raise HandleError(text, f"the scheme {scheme!r} is not lower-case", f"Write {scheme.lower()}://{rest}")
        handle = cls(scheme, _decode(text, path), _decode(text, revision) if at else None)
        if str(handle) != text:
            raise HandleError(text, f"its only spelling is {str(handle)!r}")
        return handle

    def without_revision(self) -> PresetHandle:
        """Returns the handle of whatever stands at the same path now."""
        return PresetHandle(self.scheme, self.path)

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{_encode(self.revision)}"
        return f"{self.scheme}://{_encode(self.path)}{revision}"


def _encode(part: str) -> str:
    return _ENCODED.sub(lambda match: f"%{ord(match.group()):02X}", part)


def _decode(text: str, part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError as error:
        raise HandleError(text, "its percent-encoding is not UTF-8") from error


def _check_segments(text: str, part: str) -> None:
    segments = part.removeprefix("/").split("/")
    if "\x00" in part:
        raise HandleError(text, "it holds a NUL character")
    try:
        part.encode()
    except UnicodeEncodeError:
        raise HandleError(text, "it holds a lone surrogate") from None
    if any(segment in ("", ".", "..") for segment in segments):
        problem = "its path must not be empty or hold empty, '.' or '..' segments"
        raise HandleError(text, problem, "Leave out the '/' at its end" if _ends_in_slash(segments) else "")


def _ends_in_slash(segments: list[str]) -> bool:
    return len(segments) > 1 and not segments[-1] and all(segments[:-1])
