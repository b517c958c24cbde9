"""Arguments of public functions: of the type that is documented, or an error that names them."""

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
    """Returns a switch, which must be a bool of Python's or NumPy's: the text "no" would count as true.

    Raises:
        ArgumentError: it is something else.
    """
    if isinstance(value, bool) or (type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")):
        return bool(value)
    raise ArgumentError(function, name, value, "True or False")


def text(function: str, name: str, value: object) -> str:
    """Returns a text.

    Raises:
        ArgumentError: it is something else, or empty.
    """
    if isinstance(value, str) and value:
        return value
    raise ArgumentError(function, name, value, "a text")


def amount(function: str, name: str, value: Any) -> float:
    """Returns a finite number above 0.

    Raises:
        ArgumentError: it is something else.
    """
    if is_amount(value):
        return float(value)
    raise ArgumentError(function, name, value, "a finite number above 0")


def is_amount(value: object) -> bool:
    """Returns whether a value is a finite number above 0; True is one to Python, and was not meant as one."""
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and 0 < float(value) < math.inf


def path(function: str, name: str, value: object) -> Path:
    """Returns a path, which may be given as a text.

    Raises:
        ArgumentError: it is something else, or empty.
    """
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if isinstance(found, str) and found:
        return Path(found)
    raise ArgumentError(function, name, value, "a path")


def preset(function: str, value: object, name: str = "preset") -> str | Path:
    """Returns what names a preset: a text as it is, a handle as its text, and another path as a path.

    Raises:
        ArgumentError: it is something else.
    """
    if isinstance(value, PresetHandle):
        return str(value)
    return value if isinstance(value, str) else path(function, name, value)


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def constructor_arguments(cls: type, base: type) -> dict[str, Any]:
    """Returns the arguments that a class's constructor takes by name, with their types.

    Those of its bases count as long as the constructor passes `**kwargs` on, up to and without `base`.
    """
    found: dict[str, Any] = {}
    for owner in cls.__mro__[: cls.__mro__.index(base)]:
        constructor = vars(owner).get("__init__")
        parameters = list(inspect.signature(constructor).parameters.values())[1:] if constructor else []
        hints = _type_hints(constructor)
        found = {p.name: hints.get(p.name, object) for p in parameters if p.kind in _NAMED} | found
        if constructor and all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return found


def _type_hints(constructor: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(constructor) if constructor else {}
    except NameError:  # annotated with names that only a type checker imports
        return {}


_CALL_ARGUMENTS = {"inputs", "training", "mask"}


def refuse_call_arguments(backbone_class: type, kwargs: Mapping[str, Any]) -> None:
    """Functional models take any argument of a call, and ignore it."""
    for name in kwargs.keys() - _CALL_ARGUMENTS:
        similar = close_names(name, [*_CALL_ARGUMENTS, "adapters"])
        hint = f"; did you mean {similar[0]!r}?" if similar else "; it takes inputs, training, mask and adapters."
        raise TypeError(f"A call of {backbone_class.__name__} has no argument {name!r}{hint}")


def refuse_constructor_arguments(backbone_class: type, kwargs: Mapping[str, Any]) -> None:
    """Keras would take any argument; a misspelled one must not be lost."""
    for name in kwargs.keys() - {"inputs", "outputs"}:
        similar = close_names(name, inspect.signature(backbone_class).parameters)
        hint = f"; did you mean {similar[0]!r}?" if similar else "."
        raise TypeError(f"{backbone_class.__name__} has no argument {name!r}{hint}")
