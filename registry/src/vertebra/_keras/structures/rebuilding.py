"""Makes the objects of a copy: the functions that the bytes of a structure name, and the attributes of its objects."""

from __future__ import annotations

import io
import pickle  # reads only bytes that this process has made
import threading
import types
from collections import OrderedDict
from typing import Any, NamedTuple

from vertebra._keras.internals import identities
from vertebra._keras.structures.generated import Fresh

_copying = threading.local()
"""The shared values, and the names and seeds, of the copy that is made in this thread."""


class Code(NamedTuple):
    """A function without the values that it closes over."""

    code: types.CodeType
    module: dict[str, Any]
    name: str
    defaults: tuple[Any, ...] | None


class Round(NamedTuple):
    """Objects that exist, and their contents, which may refer to objects of earlier rounds and of this one."""

    objects: list[tuple[Any, dict[str, Any], tuple[str, ...]]]
    """Objects, their attributes, and the names of attributes that are empty ordered dicts."""
    cells: list[tuple[Any, Any]]
    functions: list[tuple[Any, dict[str, Any]]]
    containers: list[tuple[Any, Any, dict[str, Any]]]


def copied(data: bytes, rounds: int, shared: list[Any], fresh: Fresh) -> Any:
    """Returns a copy of the objects that bytes describe.

    Args:
        data: The bytes: the value to return, the rounds, and the objects that know others by their identities.
        rounds: The number of rounds.
        shared: The values that all copies share.
        fresh: The names and seeds of the copy.
    """
    _copying.shared, _copying.fresh = shared, fresh
    try:
        unpickler = pickle.Unpickler(io.BytesIO(data))  # noqa: S301
        value = unpickler.load()
        for _ in range(rounds):
            _fill(Round(*unpickler.load()))
        for known in unpickler.load():
            vars(known).update(identities(known))
        return value
    finally:
        del _copying.shared, _copying.fresh


def _fill(filled: Round) -> None:
    for value, attributes, empty in filled.objects:
        known = value.__dict__  # Keras's and torch's own `setattr` would track the values again
        known.update(attributes)
        for name in empty:
            known[name] = OrderedDict()
    for cell, content in filled.cells:
        cell.cell_contents = content
    for function, attributes in filled.functions:
        for name, value in attributes.items():
            setattr(function, name, value)
    for container, content, attributes in filled.containers:
        if isinstance(container, list):
            list.extend(container, content)
        elif isinstance(container, dict):
            dict.update(container, content)
        else:
            set.update(container, content)
        container.__dict__.update(attributes)


def shared_value(index: int) -> Any:
    return _copying.shared[index]


def function(index: int, closure: tuple[Any, ...]) -> Any:
    code, module, name, defaults = _copying.shared[index]
    return types.FunctionType(code, module, name, defaults, closure)


def tracked(index: int, lists: list[list[Any]]) -> dict[str, tuple[Any, list[Any]]]:
    tests = _copying.shared[index]
    return {name: (test, held) for (name, test), held in zip(tests.items(), lists, strict=True)}


def name(kind: str, number: int) -> str:
    copy: str = _copying.fresh.name(kind, number)
    return copy


def path(parts: tuple[str, ...]) -> str:
    return "/".join(parts)


def seed(value: int) -> int:
    copy: int = _copying.fresh.seed(value)
    return copy
