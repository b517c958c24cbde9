"""The standard streams: closed ones, full disks, and encodings that lack some characters."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import TextIO

from vertebra.errors import printable

_ASCII = str.maketrans(
    {
        "├": "|",
        "└": "`",
        "│": "|",
        "─": "-",
        "×": "x",
        "…": "...",
        "•": "*",
        "→": "->",
    }
)
"""Characters of our own texts, and what replaces them in encodings that lack them; all others are escaped."""
_ERRORS = "vertebra"


def prepare_streams() -> None:
    """Makes every text printable: closed streams discard it, and characters that an encoding lacks are replaced."""
    codecs.register_error(_ERRORS, _replace)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller, as in `vertebra presets >&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 (until the process ends)
        elif isinstance(stream, io.TextIOWrapper) and stream.errors in (
            "strict",
            "backslashreplace",
            "surrogateescape",
        ):
            stream.reconfigure(errors=_ERRORS)


def _replace(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ASCII)
    return b"".join(map(_bytes_of, text)), error.end


def _bytes_of(character: str) -> bytes:
    """Returns a character in ASCII, escaped if need be; a byte of a path that is no text stays that byte."""
    is_byte = "\udc80" <= character <= "\udcff"
    return character.encode("ascii", "surrogateescape" if is_byte else "backslashreplace")


def say(text: object = "", file: TextIO | None = None, flush: bool = False) -> None:
    """Prints one line, in which no name or text of a file can control the terminal or begin another line.

    Args:
        text: The line.
        file: `sys.stderr`, or None for stdout.
        flush: Whether to write out the buffer.
    """
    print(printable(str(text)), file=file or sys.stdout, flush=flush)


def say_lines(text: str, file: TextIO | None = None) -> None:
    """Prints a text of several lines, each as `say` does; only for texts whose line breaks are our own."""
    print("\n".join(map(printable, text.split("\n"))), end="", file=file or sys.stdout)


def flush_or_discard() -> None:
    """Writes out the buffered output; if that fails, discards it, so that Python does not try again at its exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def can_encode(text: str) -> bool:
    """Returns whether the encoding of stdout has all characters of a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def terminal_width() -> int | None:
    """Returns the columns of the terminal that stdout is, or None if it is a pipe or a file, which gets whole lines."""
    if not sys.stdout.isatty():
        return None
    import shutil  # most output goes to pipes or fits

    return shutil.get_terminal_size().columns
