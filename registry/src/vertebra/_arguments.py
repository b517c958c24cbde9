"""Checks of the arguments of public functions; each error names the argument and its value."""

from __future__ import annotations

import inspect
import math
import numbers
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra.errors import ArgumentError, close_names
from vertebra.handles import PresetHandle


def flag(function: str, name: str, value: object) -> bool:
    """Returns a bool, which must be Python's or NumPy's: the string "no" would count as true.

    Raises:
        ArgumentError: the value is not of this type.
    """
    if isinstance(value, bool) or (type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")):
        return bool(value)
    raise ArgumentError(function, name, value, "True or False")


def text(function: str, name: str, value: object) -> str:
    """Returns a string.

    Raises:
        ArgumentError: the value is not of this type, or is empty.
    """
    if isinstance(value, str) and value:
        return value
    raise ArgumentError(function, name, value, "a string that is not empty")


def amount(function: str, name: str, value: Any) -> float:
    """Returns a finite number above 0 as a float.

    Raises:
        ArgumentError: the value is not of this type.
    """
    if is_amount(value):
        return float(value)
    raise ArgumentError(function, name, value, "a finite number above 0")


def is_amount(value: object) -> bool:
    """Returns whether a value is a finite number above 0, and not a bool."""
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and 0 < float(value) < math.inf


def plain(value: Any) -> Any:
    """Returns a value with NumPy's arrays as lists, and NumPy's numbers as Python's, also within collections."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def path(function: str, name: str, value: object, expected: str = "a path") -> Path:
    """Returns a path, which may be given as a string.

    Args:
        function: The function that has the argument.
        name: The argument.
        value: Its value.
        expected: What the error says that the argument may be.

    Raises:
        ArgumentError: the value is not of this type, or is empty.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if isinstance(text, str) and text:
        return Path(text)
    raise ArgumentError(function, name, value, expected)


def preset(function: str, value: object, name: str = "preset") -> str | Path:
    """Returns the argument that names a preset: a string as it is, a handle as its text, and another path as a `Path`.

    Raises:
        ArgumentError: the value is not of this type.
    """
    if isinstance(value, PresetHandle):
        return str(value)
    return value if isinstance(value, str) else path(function, name, value, "a string or a path")


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def constructor_arguments(cls: type, base: type) -> dict[str, Any]:
    """Returns the named arguments of a class's constructor, with their types.

    Arguments of base classes, up to but without `base`, are included if the constructor passes `**kwargs` on.
    """
    arguments: dict[str, Any] = {}
    for owner in cls.__mro__[: cls.__mro__.index(base)]:
        constructor = vars(owner).get("__init__")
        parameters = list(inspect.signature(constructor).parameters.values())[1:] if constructor else []
        hints = _type_hints(constructor)
        arguments = {p.name: hints.get(p.name, object) for p in parameters if p.kind in _NAMED} | arguments
        if constructor and all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return arguments


def _type_hints(constructor: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(constructor) if constructor else {}
    except NameError:  # annotations with names that only a type checker imports
        return {}


_CALL_ARGUMENTS = {"inputs", "training", "mask"}


def refuse_call_arguments(backbone_class: type, kwargs: Mapping[str, Any]) -> None:
    """Refuses unknown arguments of a call, because functional models ignore them."""
    for name in kwargs.keys() - _CALL_ARGUMENTS:
        similar = close_names(name, [*_CALL_ARGUMENTS, "adapters"])
        hint = f"; did you mean {similar[0]!r}?" if similar else "; it takes inputs, training, mask and adapters."
        raise TypeError(f"A call of {backbone_class.__name__} has no argument {name!r}{hint}")


def refuse_constructor_arguments(backbone_class: type, kwargs: Mapping[str, Any]) -> None:
    """Refuses unknown arguments of a constructor, because Keras accepts any."""
    for name in kwargs.keys() - {"inputs", "outputs"}:
        similar = close_names(name, inspect.signature(backbone_class).parameters)
        hint = f"; did you mean {similar[0]!r}?" if similar else "."
        raise TypeError(f"{backbone_class.__name__} has no argument {name!r}{hint}")
