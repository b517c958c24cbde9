"""The values that a template gets: copies that consist of JSON's types alone, so that it cannot reach anything else."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

from vertebra.errors import ArgumentError
from vertebra_generation.chat.schemas import schema_of

FUNCTION = "render"
_REASONING = ("reasoning_content", "thinking", "reasoning")
"""The names of a message's reasoning; templates read the first one, or the second."""
_DEEPEST = 100


def plain(name: str, value: Any, depth: int = 0) -> Any:
    """Returns a copy of a value that consists of JSON's types.

    Raises:
        ArgumentError: the value, or a part of it, is none of these types.
    """
    if depth > _DEEPEST:
        raise ArgumentError(FUNCTION, name, type(value), f"lists and dicts nested at most {_DEEPEST} deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, Mapping):
        return {_key(name, key): plain(f"{name}[{key!r}]", item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(f"{name}[{index}]", item, depth + 1) for index, item in enumerate(value)]
    if type(value).__module__ == "numpy" and not getattr(value, "ndim", 1):
        return plain(name, value.item(), depth + 1)  # a bool of NumPy
    raise ArgumentError(FUNCTION, name, value, "text, a number, True, False, None, or lists and dicts of them")


def conversation(messages: Any) -> list[dict[str, Any]]:
    """Returns the messages of a conversation, without those of their entries that are None.

    Reasoning has each of the names that templates know.

    Raises:
        ArgumentError: the messages are no list of dicts with a role, or there are none.
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Iterable):
        expected = 'a list of messages, such as [{"role": "user", "content": "Hello"}]'
        raise ArgumentError(FUNCTION, "messages", messages, expected)
    found = [_message(index, item) for index, item in enumerate(messages)]
    if not found:
        raise ArgumentError(FUNCTION, "messages", [], "at least one message")
    return found


def schemas(tools: Any) -> list[dict[str, Any]] | None:
    """Returns the JSON schemas of tools.

    Raises:
        ArgumentError: a tool is neither a JSON schema nor a function that has one.
    """
    if isinstance(tools, list | tuple):
        tools = [
            schema_of(f"tools[{index}]", tool) if inspect.isfunction(tool) or inspect.ismethod(tool) else tool
            for index, tool in enumerate(tools)
        ]
    expected = "a function, or its JSON schema: a dict with name, description and parameters"
    return _dicts("tools", tools, expected)


def documents(given: Any) -> list[dict[str, Any]] | None:
    """Returns documents.

    Raises:
        ArgumentError: a document is no dict.
    """
    return _dicts("documents", given, "a dict, such as one with title and text")


def _dicts(name: str, given: Any, expected: str) -> list[dict[str, Any]] | None:
    if given is None:
        return None
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise ArgumentError(FUNCTION, name, given, f"a list, each item of which is {expected}")
    found = []
    for index, item in enumerate(given):
        if not isinstance(item, Mapping):
            raise ArgumentError(FUNCTION, f"{name}[{index}]", item, expected)
        found.append(plain(f"{name}[{index}]", item))
    return found


def _message(index: int, item: Any) -> dict[str, Any]:
    name = f"messages[{index}]"
    if not isinstance(item, Mapping) or not isinstance(item.get("role"), str):
        raise ArgumentError(FUNCTION, name, item, 'a dict with "role" and "content", whose role is a text')
    message = {key: value for key, value in plain(name, item).items() if value is not None}
    reasoning = next((message[key] for key in _REASONING if key in message), None)
    if reasoning is None:
        return message
    return {"thinking": reasoning} | message | {"reasoning_content": reasoning}


def reasoning_names(field: str) -> tuple[str, ...]:
    """Returns all names of a field of messages."""
    return _REASONING if field in _REASONING else (field,)


def _key(name: str, key: Any) -> Any:
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool | int | float):
        return key
    raise ArgumentError(FUNCTION, name, key, "keys that are texts")
