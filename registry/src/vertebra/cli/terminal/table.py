"""Tables and labelled lines that fit the terminal; a pipe or a file gets each row, complete, on one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vertebra.cli.terminal.streams import say, terminal_width
from vertebra.errors import printable

_GAP = "  "
_NARROWEST = 24
"""Characters to which a longer column is narrowed at most; where that is not enough, each row becomes a block."""
_WORD = re.compile(r"[^\s/]*/+|[^\s/]+\s*|\s+")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table; if the terminal is too narrow for it, wraps long cells, or prints each row as labelled lines.

    Cells are wrapped between words and after slashes; the first column, which has the names, is never wrapped.
    """
    table = [[heading.upper() for heading in headings], *rows]
    columns = list(zip(*table, strict=True))
    widths = [max(map(len, column)) for column in columns]
    room = terminal_width()
    if room is not None and _total(widths) > room:
        least = [widths[0], *(_least(column) for column in columns[1:])]
        if _total(least) > room:
            _print_blocks(headings, rows)
            return
        while _total(widths) > room:
            excess = [width - fewest for width, fewest in zip(widths, least, strict=True)]
            widths[excess.index(max(excess))] -= 1
    for row in table:
        _print_row(row, widths, room)


def print_fields(fields: Iterable[tuple[str, str]], indent: str = "") -> None:
    """Prints labels and values in two columns; on a terminal, long values are wrapped inside their column.

    A value with a word that is longer than the column begins on the next line.
    """
    lines, room = [(printable(label), printable(value)) for label, value in fields], terminal_width()
    width = max(11, *(len(label) for label, _ in lines)) + 1
    for label, value in lines:
        start = f"{indent}{label:<{width}}"
        if room is None:
            say(f"{start}{value}")
            continue
        if _longest_word(value) > room - len(start):
            say(f"{indent}{label}")
            start = f"{indent}{_GAP}"
        for part in wrap(value, room - len(start)):
            say(f"{start}{part}")
            start = " " * len(start)


def print_text(text: str) -> None:
    """Prints a line of text, on a terminal wrapped to its width."""
    room = terminal_width()
    for line in [text] if room is None else wrap(printable(text), room):
        say(line)


def wrap(text: str, width: int) -> list[str]:
    """Returns the lines of a text that is wrapped between words and after slashes; a longer word is not broken."""
    lines = [""]
    for word in _WORD.findall(text):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return [line.rstrip() for line in lines]


def _print_row(row: Sequence[str], widths: Sequence[int], room: int | None) -> None:
    cells = [[cell] if room is None else wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    for number in range(max(map(len, cells))):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        say(_GAP.join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip())


def _print_blocks(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in rows:
        say(row[0])
        print_fields(zip(headings[1:], row[1:], strict=True), indent=_GAP)


def _least(column: Sequence[str]) -> int:
    return max(*map(_longest_word, column), min(_NARROWEST, max(map(len, column))))


def _longest_word(text: str) -> int:
    return max((len(word.rstrip()) for word in _WORD.findall(text)), default=0)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)
