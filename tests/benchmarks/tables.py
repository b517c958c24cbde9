"""Rows as Markdown tables; the unit at the end of a column's title says how its numbers are written.

A list of numbers is a range, such as that from one quartile to the other.
"""

import re
from pathlib import Path
from typing import Any

from measure import Row


def markdown(rows: list[Row]) -> str:
    """Returns a table with a line for each row; what was not measured is a dash."""
    titles = list(rows[0])
    lines = [titles, ["---" if _is_text(rows, title) else "---:" for title in titles]]
    lines += [[_text(title, row[title]) for title in titles] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace_table(page: Path, name: str, table: str) -> None:
    """Replaces the table of a page that follows a comment with its name, as in `<!-- table: loading -->`."""
    text = page.read_text(encoding="utf-8")
    mark = f"<!-- table: {name} -->\n"
    if mark not in text:
        raise SystemExit(f"{page} has no place for the table {name!r}; write {mark.strip()} where it belongs")
    text = re.sub(rf"{re.escape(mark)}(\|.*\n)*", lambda _: f"{mark}{table}\n", text)
    page.write_text(text, encoding="utf-8")


def _is_text(rows: list[Row], title: str) -> bool:
    return all(row[title] is None or isinstance(row[title], str) for row in rows)


def _text(title: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or "–"
    written = _WRITTEN.get(title.rpartition(", ")[2], str)
    return "–".join(map(written, value)) if isinstance(value, list) else written(value)


def _ratio(value: float) -> str:
    part = 1 / value
    if part < 1.5:
        return f"{value:.1f}"
    return f"1/{part:.1f}" if part < 10 else f"1/{part:.0f}"


_WRITTEN = {
    "s": "{:.2f}".format,
    "ms": "{:.1f}".format,
    "MB": "{:,.0f}".format,
    "GB": "{:,.1f}".format,
    "%": "{:.1%}".format,
    "×": _ratio,
}
