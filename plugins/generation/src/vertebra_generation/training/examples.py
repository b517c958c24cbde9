"""`Example`: a text with the parts that count: all of it, the completion of a prompt, or the answers of a chat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vertebra.errors import ArgumentError
from vertebra_text import TextError

PROMPT, COMPLETION, MESSAGES, TEXT = "prompt", "completion", "messages", "text"
"""Names of the columns of tables, and of the fields of an item, as libraries for fine-tuning have them."""
_EXPECTED = (
    "a text, a pair of a prompt and its completion, a dict with prompt and completion, with text or with messages, "
    "or a list of messages"
)


@dataclass(frozen=True, slots=True)
class Example:
    """A text, and which of its tokens count: in the loss of training, or in a score."""

    text: str
    counted: tuple[tuple[int, int], ...]
    """Begin and end of each part that counts, in characters."""
    has_prompt: bool = False
    """Whether the text begins with a prompt, which may be empty."""
    is_rendered: bool = False
    """Whether the text has all special tokens already, as that of a chat template."""


Render = Callable[[Sequence[Any], Mapping[str, Any]], "Example"]
"""Returns the example of the messages of a chat, and of the other fields of the item, such as `tools`."""


def whole_text(text: str) -> Example:
    """Returns a text that counts from its first token on."""
    return Example(text, ((0, len(text)),))


def completed(prompt: str, completion: str) -> Example:
    """Returns the text of a prompt and its completion, which counts."""
    return Example(prompt + completion, ((len(prompt), len(prompt) + len(completion)),), has_prompt=True)


def example_of(item: Any, render: Render, name: str) -> Example:
    """Returns the example of an item that a user gives.

    Args:
        item: A text, a pair of texts, a list of messages, or a dict with the fields that tables have.
        render: The chat template.
        name: The name of the item in errors, such as `texts[3]`.

    Raises:
        TextError: it is none of these.
    """
    if isinstance(item, Example):
        return item
    if isinstance(item, str):
        return whole_text(item)
    if isinstance(item, Mapping):
        return _of_fields(item, render, name)
    if isinstance(item, list | tuple) and len(item) == 2 and all(isinstance(part, str) for part in item):
        return completed(*item)
    if _are_messages(item):
        return render(item, {})
    raise TextError("CausalLM", name, item, _EXPECTED)


def _of_fields(item: Mapping[str, Any], render: Render, name: str) -> Example:
    if isinstance(item.get(PROMPT), str) and isinstance(item.get(COMPLETION), str):
        return completed(item[PROMPT], item[COMPLETION])
    if isinstance(item.get(TEXT), str):
        return whole_text(item[TEXT])
    if _are_messages(item.get(MESSAGES)):
        return render(item[MESSAGES], {key: value for key, value in item.items() if key != MESSAGES})
    raise TextError("CausalLM", name, dict(item), _EXPECTED)


def _are_messages(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, Mapping) for one in value)


def rows_of_table(table: Any, names: Sequence[str]) -> list[Any] | None:
    """Returns the items of a table with columns of prompts and completions, or of messages, or None if it has none.

    Args:
        table: The columns by name.
        names: The names of its columns.

    Raises:
        ArgumentError: prompts and completions differ in number.
    """
    if {PROMPT, COMPLETION} <= set(names):
        columns = [_column(table[name]) for name in (PROMPT, COMPLETION)]
        require_same_length(*columns)
        return [{PROMPT: one, COMPLETION: other} for one, other in zip(*columns, strict=True)]
    if MESSAGES in names:
        return [{MESSAGES: messages} for messages in table[MESSAGES]]
    return None


def _column(values: Any) -> list[Any]:
    return [values] if isinstance(values, str) else list(values)


def require_text(texts: Sequence[Any], name: str) -> None:
    """Raises TextError if an item is no text.

    Args:
        texts: The items.
        name: Their name in errors.
    """
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TextError("CausalLM", f"{name}[{number}]", text, "a text")


def require_same_length(one: Sequence[Any], other: Sequence[Any]) -> None:
    """Raises ArgumentError if prompts and completions differ in number."""
    if len(one) != len(other):
        raise ArgumentError("CausalLM", "completions", f"{len(other)} texts", f"one for each of {len(one)} prompts")
