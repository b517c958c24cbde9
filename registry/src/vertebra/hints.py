"""Type hints for the arguments of a backbone's constructor that say which values are in range, too.

    def __init__(self, num_layers: hints.Layers, dropout: hints.Rate = 0.1, *, seed: hints.Size | None = None):
        arguments = hints.checked(MyBackbone.__init__, locals())

To a type checker they are `int`, `float`, `bool` and `str`.
"""

from __future__ import annotations

import functools
import inspect
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from vertebra import activations

MOST_LAYERS = 1_000
"""More are refused: each costs milliseconds to build, before its weights are compared with any file."""
MOST_ROWS = 2**31 - 1
"""More are refused: token ids and positions are int32."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of a value: metadata of an `Annotated` hint. Plugins may make hints of their own with it."""

    text: str
    """What the value must be, to follow the word `expected`."""
    holds: Callable[[Any], bool]
    """Says whether a value of any type is that."""


def _is_int(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


Size: TypeAlias = Annotated[int, Expected(f"an int from 1 to {MOST_ROWS}", lambda value: _is_int(value, MOST_ROWS))]
"""How many or how wide."""
Layers: TypeAlias = Annotated[
    int, Expected(f"an int from 1 to {MOST_LAYERS}", lambda value: _is_int(value, MOST_LAYERS))
]
"""How many layers."""
Rate: TypeAlias = Annotated[float, Expected("a rate in [0, 1)", lambda value: _is_number(value) and 0 <= value < 1)]
"""Which share is dropped."""
Positive: TypeAlias = Annotated[
    float, Expected("a finite number above 0", lambda value: _is_number(value) and value > 0)
]
"""An epsilon, a base, a factor, a cap."""
Deviation: TypeAlias = Annotated[
    float, Expected("a finite number from 0 up", lambda value: _is_number(value) and value >= 0)
]
"""A standard deviation."""
Flag: TypeAlias = Annotated[bool, Expected("True or False", lambda value: isinstance(value, bool))]
Activation: TypeAlias = Annotated[
    str,
    Expected(
        f"one of {', '.join(activations.NAMES)}",
        lambda value: isinstance(value, str) and value in activations.NAMES,
    ),
]
"""A name that `vertebra.activations.activation` takes."""


def checked(constructor: Callable[..., None], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments that a backbone's constructor has beyond its base class's, checked against their hints.

    Args:
        constructor: The constructor, such as `MyBackbone.__init__`.
        values: What it was called with: its `locals()`, in its first statement.

    Raises:
        ValueError: a value is of another type than its hint says, or out of range; argument and value are named.
    """
    arguments = {}
    for name, expected, optional in _parameters(constructor):
        value = values[name]
        if expected is not None and not (optional and value is None) and not expected.holds(value):
            raise ValueError(f"{name}={value!r}, expected {expected.text}{' or None' if optional else ''}.")
        arguments[name] = value
    return arguments


@functools.cache
def _parameters(constructor: Callable[..., None]) -> list[tuple[str, Expected | None, bool]]:
    """Returns the name of each argument, what is expected of it, and whether it may be None."""
    found = typing.get_type_hints(constructor, include_extras=True)
    _self, *parameters = inspect.signature(constructor).parameters.values()
    return [
        (parameter.name, *_read(found.get(parameter.name)))
        for parameter in parameters
        if parameter.kind is not parameter.VAR_KEYWORD and parameter.name not in ("dtype", "trainable", "name")
    ]


def _read(hint: Any) -> tuple[Expected | None, bool]:
    choices = [hint] if hasattr(hint, "__metadata__") else typing.get_args(hint)
    metadata = [item for choice in choices for item in getattr(choice, "__metadata__", ())]
    expected = next((item for item in metadata if isinstance(item, Expected)), None)
    return expected, type(None) in choices
