"""`PresetHandle`: the address of a preset, `scheme://path[@revision]`; `parse` and `str` are exact inverses."""

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
    every text that parses: a handle has only one spelling, so that it can be a key in a lockfile.

    Raises:
        HandleError: the scheme, path or revision is empty or has invalid characters.
    """

    scheme: str
    """The scheme of the source that reads the preset: lower case, as in a URL."""
    path: str
    """The path within the source, decoded; it has no empty, `.` or `..` segments."""
    revision: str | None = None
    """A version, branch or commit, or None for the source's current one."""

    def __post_init__(self) -> None:
        text = str(self)
        if not _SCHEME.fullmatch(self.scheme):
            raise HandleError(text, f"the scheme {self.scheme!r} must be lower-case letters, digits, '+', '.' or '-'")
        for segments in (self.path, self.revision):
            if segments is not None:
                _check_segments(text, segments)
        if self.revision is not None and "/" in self.revision[:1] + self.revision[-1:]:
            raise HandleError(text, "a revision neither starts nor ends with '/'")

    @classmethod
    def parse(cls, text: str) -> PresetHandle:
        """Reads a handle from its text form.

        Raises:
            HandleError: the text has no scheme, or its scheme, path or revision is invalid.
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
        """Returns the handle of the current revision at the same path."""
        return PresetHandle(self.scheme, self.path)

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{_encode(self.revision)}"
        return f"{self.scheme}://{_encode(self.path)}{revision}"


def _encode(piece: str) -> str:
    return _ENCODED.sub(lambda match: f"%{ord(match.group()):02X}", piece)


def _decode(text: str, piece: str) -> str:
    try:
        return unquote(piece, errors="strict")
    except UnicodeDecodeError as error:
        raise HandleError(text, "its percent-encoding is not UTF-8") from error


def _check_segments(text: str, path: str) -> None:
    segments = path.removeprefix("/").split("/")
    if "\x00" in path:
        raise HandleError(text, "it contains a NUL character")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise HandleError(text, "it contains a lone surrogate") from None
    if any(segment in ("", ".", "..") for segment in segments):
        problem = "its path must not be empty or contain empty, '.' or '..' segments"
        raise HandleError(text, problem, "Remove the '/' at its end" if _ends_in_slash(segments) else "")


def _ends_in_slash(segments: list[str]) -> bool:
    return len(segments) > 1 and not segments[-1] and all(segments[:-1])
