"""A model card: what a preset's files say of it, as the README that hubs show, with what its author must add."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra._discovery.catalog import BACKBONES, catalog

CARD = "README.md"
_LIBRARIES = {"native": "vertebra", "kerashub": "keras-hub", "transformers": "transformers"}
"""What hubs call the library that reads a format."""
_MARK = "\n<!-- Made by vertebra of what the files tell. While this fits, it is made anew: "
_MOST_CHARACTERS = 200
_MOST_BYTES = 2**24
"""Bytes that are read of a model card; a generated one that names 100,000 files has fewer."""
_UNITS = ("bytes", "kB", "MB", "GB")


def model_card(name: str, handle: str, facts: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    """Writes a model card.

    Args:
        name: What the preset is called.
        handle: Where it can be loaded from.
        facts: What `inspect_preset` returns.
        sizes: Bytes of its files by name.
    """
    front = {
        "library_name": _LIBRARIES.get(facts["format"], "vertebra"),
        "tags": ["vertebra", "backbone", facts["backbone"]],
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in front.items()]  # which is YAML, too
    text = "\n".join(["---", *lines, "---", "", f"# {_plain(name)}", "", *_summary(facts), *_use(handle, facts)]) + (
        _table("## Architecture", ("argument", "value"), facts["config"])
        + _table("## Files", ("file", "size"), {file: _size(size) for file, size in sizes.items()})
        + "\n## For the author to write\n\nLicence, training data, intended use and limits: no file tells them.\n"
    )
    return text + _signature(text)


def is_generated(path: Path) -> bool:
    """Says whether a model card is as it was made here, so that another one says more of what its preset is now."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.stat().st_size > _MOST_BYTES:
            return False
        text, mark, end = path.read_text(encoding="utf-8").rpartition(_MARK)
        return bool(mark) and _signature(text) == mark + end
    return False


def _signature(text: str) -> str:
    """Returns a last line, which no longer fits once somebody has written something of their own."""
    return f"{_MARK}{hashlib.sha256(text.encode()).hexdigest()[:16]}. -->\n"


def _summary(facts: Mapping[str, Any]) -> list[str]:
    dtypes = ", ".join(f"{_size(size)} {dtype}" for dtype, size in sorted(facts["bytes_by_dtype"].items()))
    return [
        f"A `{_plain(facts['backbone'])}` of {facts['parameters']:,} parameters ({dtypes}), in the {facts['format']} "
        "format. It is a backbone: it computes features, and has no head.",
        "",
    ]


def _use(handle: str, facts: Mapping[str, Any]) -> list[str]:
    found = catalog(BACKBONES)
    backbone = facts["backbone"]
    owner = found.lookup(backbone).owner.distribution if backbone in found else None
    needs = f"`vertebra`, `{owner}`" if owner else f"`vertebra`, the plugin that has `{_plain(backbone)}`,"
    return [
        "## Use",
        "",
        f"With {needs} and a runtime such as PyTorch's or JAX's installed:",
        "",
        "```python",
        "import vertebra",
        "",
        f"backbone = vertebra.Backbone.from_preset({json.dumps(handle, ensure_ascii=False)})",
        "```",
        "",
    ]


def _table(title: str, columns: tuple[str, str], rows: Mapping[str, Any]) -> str:
    lines = [f"| `{_plain(name)}` | {_plain(_short(value))} |" for name, value in rows.items()]
    return "\n".join(["", title, "", f"| {columns[0]} | {columns[1]} |", "|---|---|", *lines, ""]) if lines else ""


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + " …"


def _plain(text: str) -> str:
    """Returns a text that is no markup: it may come from a stranger's file."""
    visible = "".join(character if character.isprintable() else " " for character in text)
    return visible.replace("\\", "\\\\").replace("`", "'").replace("|", "\\|").replace("<", "&lt;")


def _size(size: int) -> str:
    amount = float(size)
    for unit in _UNITS:
        if amount < 1000 or unit == _UNITS[-1]:
            break
        amount /= 1000
    return f"{size:,} bytes" if unit == _UNITS[0] else f"{amount:,.1f} {unit}"
