"""Type hints for the arguments of a backbone's constructor, with the range of valid values.

    def __init__(self, num_layers: hints.Layers, dropout: hints.Rate = 0.1, *, seed: hints.Size | None = None):
        arguments = hints.checked(MyBackbone.__init__, locals())

They are types with constraints of `annotated_types`; plugins write others in the same way, such as
`Annotated[int, MultipleOf(8)]`. To a type checker they are `int`, `float`, `bool` and `str`.
"""

from __future__ import annotations

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import annotated_types
from annotated_types import Ge, Gt, Interval, Predicate

from vertebra import activations

MOST_LAYERS = 1_000
"""The most layers: each takes milliseconds to build, before its weights are compared with any file."""
MOST_ROWS = 2**31 - 1
"""The largest size: token ids and positions are int32."""


@dataclass(frozen=True, slots=True, repr=False)
class Expected(Predicate):
    """A predicate with a text for error messages."""

    text: str
    """The values that the predicate accepts, such as `a power of two`; follows the word `expected`."""


Size: TypeAlias = Annotated[int, Interval(ge=1, le=MOST_ROWS)]
"""A number of items, or a width."""
TokenId: TypeAlias = Annotated[int, Interval(ge=0, le=MOST_ROWS)]
"""The id of a token."""
Layers: TypeAlias = Annotated[int, Interval(ge=1, le=MOST_LAYERS)]
"""A number of layers."""
Rate: TypeAlias = Annotated[float, Interval(ge=0, lt=1)]
"""A dropout rate."""
Positive: TypeAlias = Annotated[float, Gt(0)]
"""A positive number, such as an epsilon, a base, a factor or a cap."""
Deviation: TypeAlias = Annotated[float, Ge(0)]
"""A standard deviation."""
Flag: TypeAlias = bool
Activation: TypeAlias = Annotated[
    str, Expected(lambda value: value in activations.NAMES, f"one of {', '.join(activations.NAMES)}")
]
"""A name in `vertebra.activations.NAMES`."""


def checked(constructor: Callable[..., None], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a backbone's constructor that its base class lacks, checked against their hints.

    These types are checked: `int`, `float` (finite, or an int), `bool`, `str`, `list` and `tuple` (interchangeable,
    because JSON has only lists) with the type of their items, `Literal`, unions and None. Of `annotated_types`, the
    constraints on ranges, multiples and lengths, and predicates, are checked; None is exempt from them. Every other
    type accepts every value, and other metadata is ignored.

    Args:
        constructor: The constructor, such as `MyBackbone.__init__`.
        values: Its arguments: `locals()`, in its first statement.

    Raises:
        ValueError: a value has another type than its hint, or is out of range; the message names argument and value.
    """
    arguments = {}
    for name, hint in _parameters(constructor).items():
        value = arguments[name] = values[name]
        if not _fits(value, hint):
            raise ValueError(f"{name}={value!r}, expected {_describe(hint)}.")
    return arguments


@functools.cache
def _parameters(constructor: Callable[..., None]) -> dict[str, Any]:
    """Returns the hint of each argument."""
    resolved = typing.get_type_hints(constructor, include_extras=True)
    _self, *parameters = inspect.signature(constructor).parameters.values()
    return {
        parameter.name: resolved.get(parameter.name, Any)
        for parameter in parameters
        if parameter.kind is not parameter.VAR_KEYWORD and parameter.name not in ("dtype", "trainable", "name")
    }


# === Types ===


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_TYPES: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    bool: ("True or False", lambda value: isinstance(value, bool)),
    int: ("an int", lambda value: type(value) is int),
    float: ("a finite number", _is_number),
    str: ("a string", lambda value: isinstance(value, str)),
    list: ("a list", lambda value: isinstance(value, list | tuple)),
    tuple: ("a tuple", lambda value: isinstance(value, list | tuple)),
    types.NoneType: ("None", lambda value: value is None),
}
"""For each checked type, its name in messages, and the check."""


def _fits(value: Any, hint: Any) -> bool:
    """Returns whether a value has the type of a hint, and satisfies its constraints."""
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        constraints = _constraints(hint.__metadata__)
        return _fits(value, choices[0]) and (value is None or all(_holds(item, value) for item in constraints))
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, choice) for choice in choices)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in choices)
    _, is_of_type = _TYPES.get(origin or hint, ("", lambda _: True))
    return is_of_type(value) and all(_fits(item, choices[0]) for item in (value if _has_alike_items(hint) else ()))


def _has_alike_items(hint: Any) -> bool:
    """Returns whether a hint is `list[X]` or `tuple[X, ...]`."""
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    return origin is list or (origin is tuple and choices[1:] == (...,))


def _describe(hint: Any) -> str:
    """Returns a description of the values that fit a hint."""
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        constraints = list(_constraints(hint.__metadata__))
        worded = bool(constraints) and all(isinstance(item, Expected) for item in constraints)
        limits = " and ".join(map(_words, constraints))
        return limits if worded else ", ".join(filter(None, (_describe(choices[0]), limits)))
    if origin in (typing.Union, types.UnionType):
        texts = [_describe(choice) for choice in choices]
        return (", or " if any("," in text for text in texts) else " or ").join(texts)
    if origin is Literal:
        return f"one of {', '.join(map(repr, choices))}"
    text, _ = _TYPES.get(origin or hint, ("a value", None))
    return f"{text}, each item {_describe(choices[0])}" if _has_alike_items(hint) else text


# === Constraints ===

_CONSTRAINTS: dict[type, tuple[str, Callable[[Any, Any], bool]]] = {
    Ge: ("at least {0.ge}", lambda item, value: value >= item.ge),
    Gt: ("above {0.gt}", lambda item, value: value > item.gt),
    annotated_types.Le: ("at most {0.le}", lambda item, value: value <= item.le),
    annotated_types.Lt: ("below {0.lt}", lambda item, value: value < item.lt),
    annotated_types.MultipleOf: ("a multiple of {0.multiple_of}", lambda item, value: value % item.multiple_of == 0),
    annotated_types.MinLen: ("of length {0.min_length} or more", lambda item, value: len(value) >= item.min_length),
    annotated_types.MaxLen: ("of length {0.max_length} or less", lambda item, value: len(value) <= item.max_length),
    Expected: ("{0.text}", lambda item, value: bool(item.func(value))),
    Predicate: ("accepted by {0!r}", lambda item, value: bool(item.func(value))),
}
"""For each checked constraint, its description in messages, and the check."""


def _constraints(metadata: Iterable[Any]) -> Iterator[Any]:
    """Yields the checked constraints; those in `Interval` and `Len` are yielded one by one."""
    for item in metadata:
        if type(item) in _CONSTRAINTS:
            yield item
        elif isinstance(item, annotated_types.GroupedMetadata):
            yield from _constraints(item)


def _holds(item: Any, value: Any) -> bool:
    _, holds = _CONSTRAINTS[type(item)]
    try:
        return holds(item, value)
    except TypeError:  # such as a string compared with a number
        return False


def _words(item: Any) -> str:
    words, _ = _CONSTRAINTS[type(item)]
    return words.format(item)
