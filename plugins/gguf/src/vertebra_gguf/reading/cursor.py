"""Reads numbers and texts from bytes, one after the other, and never beyond their end."""

from __future__ import annotations

import struct


class Truncated(Exception):  # noqa: N818 (not an error for a header that is read in parts)
    """The bytes end in a part of the header, which the text names."""


class Unsound(Exception):  # noqa: N818
    """The bytes are not those of a sound file."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.remedy = remedy
        super().__init__(problem)


class Cursor:
    """A position in bytes.

    Args:
        data: The bytes.
        position: The position.
    """

    def __init__(self, data: memoryview, position: int = 0) -> None:
        self.data, self.position = data, position

    @property
    def left(self) -> int:
        """The number of bytes after the position."""
        return len(self.data) - self.position

    def skip(self, count: int, part: str) -> None:
        """Moves the position.

        Raises:
            Truncated: fewer bytes are left; it names the `part` of the header.
        """
        if count > self.left:
            raise Truncated(part)
        self.position += count

    def number(self, format: str, part: str) -> int:
        """Reads an unsigned number; `format` is that of `struct`."""
        start = self.position
        self.skip(struct.calcsize(format), part)
        (value,) = struct.unpack_from(f"<{format}", self.data, start)
        return int(value)

    def text(self, most: int, part: str) -> str:
        """Reads a text of at most so many bytes, with its length before it."""
        length = self.number("Q", part)
        if length > most:
            raise Unsound(f"{part} has {length:,} bytes; at most {most:,} are read")
        start = self.position
        self.skip(length, part)
        try:
            return bytes(self.data[start : self.position]).decode("utf-8")
        except UnicodeDecodeError:
            raise Unsound(f"{part} is not UTF-8") from None
