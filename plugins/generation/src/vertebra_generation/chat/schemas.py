"""The JSON schema of a Python function that a model may call, from its types and its docstring, as in transformers."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vertebra.errors import ArgumentError

_TYPES: dict[Any, dict[str, Any]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    dict: {"type": "object"},
    Any: {},
}
_SECTION = re.compile(r"^(Args|Returns|Raises):[ \t]*\n?", re.MULTILINE)
_ARGUMENT = re.compile(r"^(\s*)(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_CHOICES = re.compile(r"\s*\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)


def schema_of(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """Returns the JSON schema of a function.

    Args:
        name: The name of the argument that holds the function, for errors.
        function: A function whose parameters have types, and which its docstring describes, in Google's style.

    Raises:
        ArgumentError: a type or a description is missing, or a type has no JSON schema.
    """

    def refuse(expected: str) -> ArgumentError:
        return ArgumentError("render", name, function, expected)

    description, arguments, returns = _parts(inspect.getdoc(function) or "")
    if not description:
        raise refuse("a function with a docstring, or a JSON schema")
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):
        raise refuse("a function whose type hints can be evaluated, or a JSON schema") from None
    properties, required = {}, []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in hints or parameter.name not in arguments:
            raise refuse(f"a type and, in the docstring, a description of the parameter {parameter.name!r}")
        schema = _schema(hints[parameter.name])
        if schema is None:
            raise refuse(f"a type of JSON for the parameter {parameter.name!r}, or a JSON schema of the function")
        properties[parameter.name] = _described(schema, arguments[parameter.name])
        if parameter.default is inspect.Parameter.empty:
            required.append(parameter.name)
    parameters = {"type": "object", "properties": properties} | ({"required": required} if required else {})
    found: dict[str, Any] = {"name": function.__name__, "description": description, "parameters": parameters}
    result = _schema(hints["return"]) if "return" in hints else None
    if result is not None:
        found["return"] = result | ({"description": returns} if returns else {})
    return {"type": "function", "function": found}


def _described(schema: dict[str, Any], text: str) -> dict[str, Any]:
    """Returns a schema with a description, at whose end there may be the choices, as JSON."""
    found = _CHOICES.search(text)
    if found is None:
        return schema | {"description": text}
    try:
        choices = [item.strip() if isinstance(item, str) else item for item in json.loads(found[1])]
    except (ValueError, TypeError):
        return schema | {"description": text}
    return schema | {"enum": choices, "description": text[: found.start()].strip()}


def _parts(doc: str) -> tuple[str, dict[str, str], str]:
    """Returns the description of a docstring, those of its arguments, and that of its result."""
    head, *sections = _SECTION.split(doc.strip())
    texts = dict(zip(sections[::2], sections[1::2], strict=True))
    return head.strip(), _arguments(texts.get("Args", "")), _joined(texts.get("Returns", ""))


def _arguments(text: str) -> dict[str, str]:
    """Returns the description of each argument: further lines of one are indented more than its name."""
    found: dict[str, list[str]] = {}
    name, margin = "", -1
    for line in text.splitlines():
        start = _ARGUMENT.match(line)
        if start and (margin < 0 or len(start[1]) <= margin):
            name, margin = start[2], len(start[1])
            found[name] = [start[3]]
        elif name and line.strip():
            found[name].append(line)
    return {name: _joined("\n".join(lines)) for name, lines in found.items()}


def _joined(text: str) -> str:
    return re.sub(r"\s*\n+\s*", " ", text.strip())


def _schema(hint: Any) -> dict[str, Any] | None:
    """Returns the JSON schema of a type, or None if it has none."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is None:
        if isinstance(hint, type) and issubclass(hint, Enum):
            return _choices([member.value for member in hint])
        found = _TYPES.get(hint)
        return None if found is None else dict(found)
    if origin is Literal:
        return _choices(list(parts))
    inner = [_schema(part) for part in parts if part not in (type(None), ...)]
    schemas = [schema for schema in inner if schema is not None]
    if origin is dict and len(parts) == 2:  # the keys are texts
        return None if inner[1] is None else {"type": "object", "additionalProperties": inner[1]}
    if len(schemas) < len(inner):
        return None
    if origin in (Union, types.UnionType):
        return _union(schemas) | ({"nullable": True} if type(None) in parts else {})
    if origin is list:
        return {"type": "array", "items": schemas[0]}
    if origin is tuple and len(schemas) == len(parts) > 1:
        return {"type": "array", "prefixItems": schemas}
    return None


def _union(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    if len(schemas) == 1:
        return schemas[0]
    if all(schema.keys() == {"type"} and isinstance(schema["type"], str) for schema in schemas):
        names = sorted({schema["type"] for schema in schemas})
        return {"type": names[0] if len(names) == 1 else names}
    return {"anyOf": schemas}


def _choices(values: list[Any]) -> dict[str, Any] | None:
    names = list(dict.fromkeys(_TYPES[type(value)]["type"] for value in values if type(value) in _TYPES))
    if not values or any(not isinstance(value, str | int | float | bool | None) for value in values):
        return None
    return {"type": names[0] if len(names) == 1 else names, "enum": values}
