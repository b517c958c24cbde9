"""Texts of models and users on the standard streams."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

from vertebra.errors import ArgumentError, printable

_JOINERS = "\u200c\u200d"
"""Characters of Persian, of scripts of India and of emoji, which only join or part their neighbours."""


def harmless(text: str) -> str:
    r"""Returns a text of a model for a terminal, which it cannot control.

    Line breaks, tabs and spaces of all widths stay, and carriage returns are left out. Other characters that cannot be
    printed, such as escape sequences and marks that reorder a line, are shown as escapes.
    """
    if text.isprintable():
        return text
    return "".join(_harmless(character) for character in text)


def _harmless(character: str) -> str:
    if character == "\r":
        return ""
    is_kept = character in "\n\t" or character in _JOINERS or unicodedata.category(character) == "Zs"
    return character if is_kept else printable(character)


def write(text: str) -> None:
    """Writes a part of a model's text to stdout, at once."""
    sys.stdout.write(harmless(text))
    sys.stdout.flush()


def print_document(document: Any) -> None:
    """Prints a JSON document, which is ASCII."""
    print(json.dumps(document, indent=2, allow_nan=False).replace("\x7f", "\\u007f"))


def read_stdin() -> str:
    """Returns the text of standard input without the line break at its end.

    Raises:
        ArgumentError: it is not UTF-8.
    """
    data = sys.stdin.buffer.read() if sys.stdin is not None else b""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentError(
            "Reading standard input", "text", data[:50], f"UTF-8; byte {error.start + 1:,} is not"
        ) from None
    return text.removesuffix("\n").removesuffix("\r")
