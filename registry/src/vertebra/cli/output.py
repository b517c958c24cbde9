"""Output of the commands: aligned columns for users, JSON for programs."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vertebra.cli.terminal.streams import can_encode
from vertebra.cli.terminal.table import print_table

if TYPE_CHECKING:
    from vertebra._presets.assets import CarriedAssets

Row = dict[str, Any]
_MOST_NAMES = 100


def print_rows(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Prints a table of some fields of the rows."""
    print_table(columns, [[_cell(row[name]) for name in columns] for row in rows])


def print_json(value: object) -> None:
    """Prints a value as indented JSON.

    Characters that the encoding of stdout lacks are escaped as JSON does. NaN and infinity, which JSON lacks, are null.
    """
    import json  # tables do without

    value = _finite(value)
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    print(text if can_encode(text) else json.dumps(value, indent=2))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_error(error: BaseException) -> None:
    """Prints an error and its notes to stderr, each on a line."""
    print(f"error: {printable(str(error))}", file=sys.stderr)
    for note in getattr(error, "__notes__", ()):
        print(f"note: {printable(note)}", file=sys.stderr)


def print_assets(assets: CarriedAssets) -> None:
    """Prints the names of the assets that were copied, and of those that were left out."""
    names = [name if name == new else f"{name} as {new}" for name, new in assets.carried.items()]
    if names:
        print(f"copied: {_joined(names)}")
    links = [f"{name} -> {target}" for name, target in assets.links.items()]
    if links:
        print(f"copied from outside of the folder, where links lead: {_joined(links)}")
    if assets.tokenizer:
        print(f"tokenizer written as {_joined(assets.tokenizer)}")
    for note in assets.notes:
        print(f"note: {printable(note)}")
    if str(assets):
        print(f"left out: {printable(str(assets))}")


def print_left_out(left_out: Mapping[str, str]) -> None:
    """Prints the files of a preset that are not used, with the reasons."""
    for name, reason in list(left_out.items())[:_MOST_NAMES]:
        print(printable(f"  left out: {name}, which {reason}"))
    if len(left_out) > _MOST_NAMES:
        print(f"  left out: {len(left_out) - _MOST_NAMES:,} more files")


def _joined(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(printable, names[:_MOST_NAMES])) + rest


def plain_warnings() -> None:
    """Prints warnings and log messages as plain lines, without their location in the source code."""
    import logging
    import warnings

    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    logging.getLogger("vertebra").addHandler(handler)


def bytes_text(size: int) -> str:
    """Returns a size as a readable text in decimal units, such as `5.1 kB`."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def printable(text: str) -> str:
    """Returns a text without characters that control the terminal, such as a name from an untrusted file."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value) if value not in (None, "") else "-"
