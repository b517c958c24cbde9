"""Output of the commands: aligned columns for users, JSON for programs."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vertebra.cli.terminal.streams import can_encode, say, say_lines
from vertebra.cli.terminal.table import print_table
from vertebra.errors import printable

if TYPE_CHECKING:
    from vertebra._presets.assets import CarriedAssets

Row = dict[str, Any]
_MOST_NAMES = 100


def print_rows(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Prints a table of some fields of the rows."""
    print_table(columns, [[_cell(row[name]) for name in columns] for row in rows])


def print_json(value: object) -> None:
    """Prints a value as indented JSON, with the escapes of JSON for characters that a terminal or encoding lacks.

    NaN and infinity, which JSON lacks, are null.
    """
    import json  # tables do without

    def escape(character: str) -> str:
        return json.dumps(character)[1:-1]

    value = _finite(value)
    document = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    text = "\n".join(printable(line, escape) for line in document.split("\n"))
    say_lines(f"{text if can_encode(text) else json.dumps(value, indent=2)}\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_error(error: BaseException) -> None:
    """Prints an error and its notes to stderr, each on a line."""
    say(f"error: {error}", file=sys.stderr)
    for note in getattr(error, "__notes__", ()):
        say(f"note: {note}", file=sys.stderr)


def print_assets(assets: CarriedAssets) -> None:
    """Prints the names of the assets that were copied, and of those that were left out."""
    names = [name if name == new else f"{name} as {new}" for name, new in assets.carried.items()]
    if names:
        say(f"copied: {_joined(names)}")
    links = [f"{name} -> {target}" for name, target in assets.links.items()]
    if links:
        say(f"copied from outside of the folder, where links lead: {_joined(links)}")
    if assets.tokenizer:
        say(f"tokenizer written as {_joined(assets.tokenizer)}")
    for note in assets.notes:
        say(f"note: {note}")
    if str(assets):
        say(f"left out: {assets}")


def print_left_out(left_out: Mapping[str, str]) -> None:
    """Prints the files of a preset that are not used, with the reasons."""
    for name, reason in list(left_out.items())[:_MOST_NAMES]:
        say(f"  left out: {name}, which {reason}")
    if len(left_out) > _MOST_NAMES:
        say(f"  left out: {len(left_out) - _MOST_NAMES:,} more files")


def _joined(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + rest


def plain_warnings() -> None:
    """Prints warnings and log messages as plain lines, without their location in the source code."""
    import logging
    import warnings

    from vertebra._system.log import log

    warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}", file=sys.stderr)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    log.addHandler(handler)


def bytes_text(size: int) -> str:
    """Returns a size as a readable text in decimal units, such as `5.1 kB`."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return printable(", ".join(map(str, value))) or "-"
    return printable(str(value)) if value not in (None, "") else "-"
