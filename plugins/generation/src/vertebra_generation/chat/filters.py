"""The filters of templates: Jinja's, each of which spends of the budget and makes no huge text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from jinja2 import pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context

from vertebra_generation.chat.budget import LimitError, current

_REMOVED = ("center", "pprint", "random", "urlize", "wordwrap", "xmlattr")
"""Filters that no chat template needs: random ones, and those that lay out pages."""
_FREE = ("abs", "d", "default", "float", "int", "max", "min", "round", "sum")
"""Filters whose numbers are no sizes."""
_LARGEST_SIZE = 10_000
_LARGEST_INDENT = 16
_FIELD = re.compile(r"\{[^{}]*:|%[^a-zA-Z%]*[0-9*]")
"""The beginning of a field with a width, in texts that are formatted."""
_WIDE_FIELD = re.compile(r"\{[^{}]*[0-9]{5}|%[^a-zA-Z%]*[0-9]{5}")


def filters() -> dict[str, Callable[..., Any]]:
    """Returns the filters of templates, by name."""
    kept = {name: function for name, function in FILTERS.items() if name not in _REMOVED}
    return {name: _guarded(name, function) for name, function in (kept | {"tojson": to_json}).items()} | {
        "_counted": _context_free(_counted),
        "_measured": _context_free(lambda value: current().measured(value)),
        "_concatenated": _context_free(lambda parts: current().joined(map(str, parts))),
    }


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Returns JSON as transformers does: nothing is escaped for HTML."""
    width = len(indent) if isinstance(indent, str) else indent or 0
    if width > _LARGEST_INDENT or any(len(text) > _LARGEST_INDENT for text in separators or ()):
        raise LimitError("its JSON has a very wide indent or separator")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def check_format(text: str) -> None:
    """Refuses a text that formats its arguments to a large width."""
    if _WIDE_FIELD.search(text):
        raise LimitError("it formats a text to a large width")
    current().allow(len(text) + _LARGEST_SIZE * len(_FIELD.findall(text)))


def check_sizes(arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Refuses numbers that would be the sizes of very long texts."""
    for value in (*arguments, *named.values()):
        if isinstance(value, int) and abs(value) > _LARGEST_SIZE:
            raise LimitError(f"it passes a number above {_LARGEST_SIZE:,} to a filter or method of texts")


def check_replacement(text: str, old: str, new: str) -> None:
    """Refuses a replacement whose result would be very long."""
    current().allow(len(text) + text.count(old) * len(new))


def check_join(parts: Any, separator: str) -> None:
    """Refuses to join parts with a separator if the text would be very long."""
    current().allow(current().weight(parts) + len(parts) * len(separator))


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    wanted = getattr(getattr(function, "jinja_pass_arg", None), "name", "")

    def guarded(context: Context, value: Any = None, *arguments: Any, **named: Any) -> Any:
        budget = current()
        budget.tick()
        value, *rest = (budget.collected(item) if isinstance(item, Iterator) else item for item in (value, *arguments))
        if name not in _FREE:
            check_sizes(tuple(rest), named)
        _check(name, value, rest, named)
        first = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}
        passed = (first[wanted],) if wanted in first else ()
        return budget.measured(function(*passed, value, *rest, **named))

    return pass_context(guarded)  # so that Jinja evaluates none of them while it compiles


def _check(name: str, value: Any, arguments: list[Any], named: dict[str, Any]) -> None:
    texts = [item for item in (*arguments, *named.values()) if isinstance(item, str)]
    if name == "replace" and len(texts) == 2:
        check_replacement(str(value), texts[0], texts[1])
    elif name == "join" and isinstance(value, list | tuple | dict):
        check_join(value, texts[0] if texts else "")
    elif name == "format":
        check_format(str(value))
    elif name == "indent":
        width = (arguments[0] if arguments else named.get("width", 4)) or 0
        current().allow(str(value).count("\n") * (len(width) if isinstance(width, str) else int(width)))


def _context_free(function: Callable[[Any], Any]) -> Callable[..., Any]:
    def run(_: Context, value: Any) -> Any:
        return function(value)

    return pass_context(run)


def _counted(items: Any) -> Iterator[Any]:
    """Yields the items of a loop, each of which is a step."""
    budget = current()
    for item in items:
        budget.tick()
        yield item
