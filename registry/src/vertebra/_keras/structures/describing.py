"""Describes the objects of a model without values in bytes.

Objects are created empty and filled afterwards, in rounds: the graph of a functional model is a chain of thousands of
objects, and pickle would follow it in a recursion.
"""

from __future__ import annotations

import collections
import enum
import functools
import inspect
import io
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from vertebra._keras.internals import has_drawn_seed, identities, tracker_class
from vertebra._keras.structures import rebuilding
from vertebra._keras.structures.generated import Generated

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_NOT_COPIED = (types.ModuleType, types.BuiltinFunctionType, inspect.Signature, enum.Enum)
_BY_PICKLE = {
    *(collections.OrderedDict, collections.defaultdict, functools.partial, np.ndarray, np.dtype),
    *(complex, bytes, bytearray, slice, range, type(Ellipsis), type(NotImplemented)),
}
"""Classes whose instances pickle copies as a constructor would make them."""
_OF_WRAPPERS = ("__module__", "__qualname__", "__doc__", "__kwdefaults__", "__annotations__")
_NAMES, _PATHS, _OUTPUTS = {"name", "_name"}, {"_path", "_parent_path"}, "output_names"
_LEAST_IDENTITY = 2**32


class Description(pickle.Pickler):
    """Writes the bytes of a structure.

    Args:
        generated: What the build has generated.
    """

    def __init__(self, generated: Generated) -> None:
        self._stream = io.BytesIO()
        super().__init__(self._stream, protocol=5)
        self.generated = generated
        self.shared: list[Any] = []
        """The values that all copies share."""
        self.rounds = 0
        self.drawn: set[int] = set()
        """The seeds of initialisers that the build must have drawn."""
        self.named: collections.Counter[str] = collections.Counter()
        """The generated names that objects have."""
        self._next = rebuilding.Round([], [], [], [])
        self._known: list[Any] = []
        self._empty: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._tracker = tracker_class()
        self._indices: dict[Any, _Call] = {}
        self._reducers: dict[type, Callable[[Any], Any]] = {
            types.FunctionType: self._function,
            types.MethodType: self._method,
            types.CellType: self._cell,
            _Call: _call,
        }

    def bytes_of(self, value: Any) -> bytes:
        """Returns the description of a value.

        Raises:
            PicklingError: an object is of a kind that copies might share with the original.
        """
        self.dump(value)
        while any(self._next):
            described, self._next = self._next, rebuilding.Round([], [], [], [])
            self.dump(tuple(described))
            self.rounds += 1
        self.dump(self._known)
        return self._stream.getvalue()

    def reducer_override(self, value: Any) -> Any:
        reducer = self._reducers.get(type(value))
        if reducer is None:
            reducer = self._reducers[type(value)] = self._reducer(value)
        return reducer(value)

    def _reducer(self, value: Any) -> Callable[[Any], Any]:
        """Returns the function that describes values of a type."""
        kind = type(value)
        if isinstance(value, (type, *_NOT_COPIED)):
            return self._shared
        if (
            kind in _BY_PICKLE
            or isinstance(value, np.generic)
            or (isinstance(value, tuple) and hasattr(kind, "_fields"))
        ):
            return _by_pickle
        if _is_keras(kind) and not _has_slots(kind):
            return self._container if isinstance(value, list | dict | set) else self._object
        raise pickle.PicklingError(f"copies might share the state of a {kind.__module__}.{kind.__qualname__}")

    # === Shared values ===

    def _shared(self, value: Any) -> Any:
        index = len(self.shared)
        self.shared.append(value)
        return rebuilding.shared_value, (index,)

    def _index(self, key: Any, value: Any) -> _Call:
        if key not in self._indices:
            self._indices[key] = _Call(rebuilding.shared_value, len(self.shared))
            self.shared.append(value)
        return self._indices[key]

    # === Functions ===

    def _method(self, method: Any) -> Any:
        function, owner = method.__func__, method.__self__
        if getattr(type(owner), function.__name__, None) is function:
            return types.MethodType, (self._index(function, function), owner)
        return types.MethodType, (function, owner)

    def _function(self, function: Any) -> Any:
        if function.__closure__ is None and id(function) in _OWN:
            return NotImplemented
        if not _holds_state(function):
            return _call(self._index(function.__code__ if _is_code_alone(function) else function, function))
        code = rebuilding.Code(function.__code__, function.__globals__, function.__name__, function.__defaults__)
        index = self._index((code.code, id(code.module), code.name, code.defaults), code).arguments[0]
        attributes = {name: getattr(function, name) for name in _OF_WRAPPERS} | vars(function)
        self._next.functions.append((function, attributes))
        return rebuilding.function, (index, function.__closure__)

    def _cell(self, cell: Any) -> Any:
        content = cell.cell_contents
        self._next.cells.append((cell, _Call(rebuilding.seed, content) if type(content) is int else content))
        return types.CellType, ()

    # === Objects ===

    def _object(self, value: Any) -> Any:
        attributes = dict(vars(value))
        for name, known in identities(value).items():
            if attributes[name] != known:
                raise pickle.PicklingError(f"{type(value).__name__} knows objects that it does not hold")
            if known:
                del attributes[name]
                self._known.append(value)
        empty = []
        for name, held in attributes.items():
            kind = type(held)
            if kind is collections.OrderedDict:
                if not held:
                    empty.append(name)  # torch's modules have a dozen each
            elif kind is str:
                if name in _NAMES or name in _PATHS:
                    attributes[name] = self._named(held) if name in _NAMES else self._path(held)
            elif kind is int and held >= _LEAST_IDENTITY:
                raise pickle.PicklingError(f"{type(value).__name__}.{name} may be the identity of an object")
        for name in empty:
            del attributes[name]
        if type(value) is self._tracker:
            attributes["config"] = self._tracked(value.config)
        if type(attributes.get("seed")) is int:
            attributes["seed"] = self._seed(value)
        if _OUTPUTS in attributes:
            attributes[_OUTPUTS] = self._outputs(attributes[_OUTPUTS])
        self._next.objects.append((value, attributes, self._empty.setdefault(tuple(empty), tuple(empty))))
        return object.__new__, (type(value),)

    def _container(self, value: Any) -> Any:
        if not value and vars(value).keys() == {"tracker"}:
            return type(value), ((), value.tracker)
        plain = dict(value) if isinstance(value, dict) else list(value)
        self._next.containers.append((value, plain, vars(value)))
        return type(value).__new__, (type(value),)

    def _tracked(self, config: dict[str, tuple[Any, list[Any]]]) -> Any:
        """Describes the lists of a tracker; all trackers of a layer class test objects by equal functions."""
        tests = {name: test for name, (test, _) in config.items()}
        if not all(_is_code_alone(test) for test in tests.values()):
            return config
        index = self._index(tuple(test.__code__ for test in tests.values()), tests).arguments[0]
        return _Call(rebuilding.tracked, index, [held for _, held in config.values()])

    def _seed(self, value: Any) -> _Call:
        if has_drawn_seed(value):
            self.drawn.add(value.seed)
        return _Call(rebuilding.seed, value.seed)

    def _named(self, name: str) -> Any:
        if name in self.generated.names:
            self.named[name] += 1
        return self._token(name)

    def _path(self, path: str) -> Any:
        parts = path.split("/")
        if self.generated.names.keys().isdisjoint(parts):
            return path
        return _Call(rebuilding.path, tuple(self._token(part) for part in parts))

    def _outputs(self, names: list[str]) -> list[Any]:
        renamed = type(names)([self._token(name) for name in names])
        if hasattr(names, "__dict__"):
            vars(renamed).update(vars(names))
        return renamed

    def _token(self, name: str) -> Any:
        """Returns the call that makes the name of the copy, for a name that was generated."""
        found = self.generated.names.get(name)
        if found is None:
            return name
        if name not in self._indices:
            self._indices[name] = _Call(rebuilding.name, *found)
        return self._indices[name]


class _Call:
    """A call that makes a value of the copy."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments


def _call(call: _Call) -> Any:
    return call.function, call.arguments


def _by_pickle(_: Any) -> Any:
    return NotImplemented


_OWN = {
    id(function)
    for function in (
        *(rebuilding.shared_value, rebuilding.function, rebuilding.tracked),
        *(rebuilding.name, rebuilding.path, rebuilding.seed),
    )
}


def _is_keras(kind: type) -> bool:
    return any(base.__module__.startswith("keras.") for base in kind.__mro__)


def _has_slots(kind: type) -> bool:
    return any(vars(base).get("__slots__") for base in kind.__mro__)


def _holds_state(function: Any) -> bool:
    """Says whether a function closes over objects of one model.

    Raises:
        PicklingError: it has a value of which copies may need their own.
    """
    if _is_code_alone(function) or _is_global(function):
        return False
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    if not all(isinstance(value, _PLAIN) for value in defaults):
        raise pickle.PicklingError(f"{function.__qualname__} has defaults that are objects")
    states = [_is_state(cell.cell_contents) for cell in function.__closure__ or ()]  # each is checked
    return any(states)


def _is_code_alone(function: Any) -> bool:
    """Says whether a function has no values of its own, like those of Keras's trackers, five for each layer."""
    return not (function.__closure__ or function.__defaults__ or function.__kwdefaults__ or function.__dict__)


def _is_state(content: Any) -> bool:
    if isinstance(content, (type, types.ModuleType, types.BuiltinFunctionType, *_PLAIN)):
        return False
    if isinstance(content, types.FunctionType):
        return _holds_state(content)
    if isinstance(content, types.MethodType) or _is_keras(type(content)):
        return True
    raise pickle.PicklingError(f"a function closes over a {type(content).__name__}")


def _is_global(function: Any) -> bool:
    found: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function
