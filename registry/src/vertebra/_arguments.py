"""Checks and defaults of the arguments of public functions; each error names the argument and its value."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import os
import typing
from collections.abc import Mapping, Sequence
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


def numbers_of_layers(cls: type, values: Mapping[str, Any]) -> dict[str, int]:
    """Returns the arguments of a class's constructor that are numbers of layers, as far as their hints say so."""
    names = {"num_layers", *_layer_arguments(cls.__init__)}  # type: ignore[misc]
    return {name: value for name in sorted(names) if type(value := values.get(name)) is int}


@functools.cache
def _layer_arguments(constructor: Any) -> tuple[str, ...]:
    """Returns the names of the arguments with the hint `vertebra.hints.Layers`."""
    from vertebra.hints import Layers  # which imports annotated_types

    try:
        hints = typing.get_type_hints(constructor, include_extras=True)
    except NameError:  # annotations with names that only a type checker imports
        return ()
    return tuple(name for name, hint in hints.items() if hint == Layers)


_CALL_ARGUMENTS = {"inputs", "training", "mask"}
_ALIASES = {"input_ids": "token_ids", "attention_mask": "padding_mask", "token_type_ids": "segment_ids"}
"""transformers' names of inputs."""
_DEFAULTS = {"padding_mask": 1, "segment_ids": 0}
"""The value, at each token, of inputs that a call may leave out: those of transformers."""


def call_arguments(
    backbone: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns the arguments of a call with all inputs, under the backbone's names; see `inputs_of_call`.

    Inputs may be keyword arguments, too, as in `backbone(**tokenizer(texts))`.

    Raises:
        TypeError: an argument is unknown, which functional models ignore.
    """
    known = _inputs(backbone)
    if not args and "inputs" not in kwargs:
        names = [name for name in kwargs if name in known or _ALIASES.get(name) in known]
        args = ({name: kwargs.pop(name) for name in names},) if names else ()
    if not kwargs.keys() <= _CALL_ARGUMENTS:
        _refuse_call_arguments(backbone, kwargs)
    if args:
        return (inputs_of_call(backbone, args[0]), *args[1:]), kwargs
    return args, kwargs | {"inputs": inputs_of_call(backbone, kwargs["inputs"])} if "inputs" in kwargs else kwargs


def inputs_of_call(backbone: Any, inputs: Any) -> Any:
    """Returns a table of inputs with all inputs of a backbone, under its names; other inputs are returned as they are.

    transformers' names are replaced by the backbone's. A padding mask that is left out or None is 1 for each token, and
    segment ids are 0. If the backbone has a single input, such as images, it may be in a table, too, or without one.
    Nested lists of numbers become arrays.

    Raises:
        ArgumentError: a nested list cannot become an array of the input's dtype and rank.
        ValueError: an input is there under two names, or is unknown: Keras would take it for another one.
    """
    known = _inputs(backbone)
    (only,) = known if len(known) == 1 else (None,)
    if not isinstance(inputs, Mapping):
        if _is_nested_number(inputs):
            return _wrapped_numbers(backbone, known, inputs)
        wraps = only is not None and known is backbone.input and not isinstance(inputs, list | tuple)
        return {only: inputs} if wraps else inputs
    if only is None or known is backbone.input:
        return _named(backbone, known, inputs) if known else inputs
    found = _named(backbone, known, inputs)
    if only not in found:
        raise ValueError(f"A call of {type(backbone).__name__} lacks its input {only!r}.")
    return found[only]


def _inputs(backbone: Any) -> Mapping[str, Any]:
    """Returns the inputs of a backbone by name; without any where they are in a list."""
    inputs = backbone.input
    if isinstance(inputs, Mapping):
        return inputs
    return {} if isinstance(inputs, list | tuple) else {inputs.name: inputs}


def _named(backbone: Any, known: Mapping[str, Any], inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns all inputs, under a backbone's names; raises the errors of `inputs_of_call`."""
    if type(inputs) is dict and inputs.keys() == known.keys() and not any(inputs.get(n, 0) is None for n in _DEFAULTS):
        return _with_arrays(backbone, known, inputs)
    named = {_own_name(backbone, known, name, inputs): value for name, value in inputs.items()}
    given = {name: value for name, value in named.items() if value is not None or name not in _DEFAULTS}
    for name in given.keys() - known.keys():
        _refuse_input(backbone, name)
    given = dict(_with_arrays(backbone, known, given))
    if "token_ids" in given:
        given |= {
            name: _like(given["token_ids"], _DEFAULTS[name]) for name in _DEFAULTS.keys() & known.keys() - given.keys()
        }
    return given


_NUMBERS = (bool, int, float)
_NO_ARRAYS = (list, tuple, str, *_NUMBERS)


def _is_nested_number(value: Any) -> bool:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, _NUMBERS)


def _wrapped_numbers(backbone: Any, known: Mapping[str, Any], numbers: Any) -> Any:
    """Returns a nested list in the structure of a backbone's inputs, which must be a single one."""
    if len(known) != 1:
        expected = f"a dict of arrays or tensors by the names of the inputs: {', '.join(known) or 'as in `inputs`'}"
        raise ArgumentError(type(backbone).__name__, "inputs", numbers, expected)
    arrays = _with_arrays(backbone, known, dict.fromkeys(known, numbers))
    return arrays if known is backbone.input else next(iter(arrays.values()))


def _with_arrays(backbone: Any, known: Mapping[str, Any], inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns inputs with arrays for nested lists, which Keras takes for several inputs; tensors next to tensors."""
    names = [name for name, value in inputs.items() if isinstance(value, _NO_ARRAYS) and hasattr(known[name], "dtype")]
    if not names:
        return inputs
    import keras

    arrays = {name: _array(type(backbone).__name__, known[name], name, inputs[name]) for name in names}
    if any(keras.ops.is_tensor(value) for value in inputs.values()):  # Keras mixes no tensors with arrays
        arrays = {name: keras.ops.convert_to_tensor(array) for name, array in arrays.items()}
    return {**inputs, **arrays}


def _array(function: str, known: Any, name: str, value: Any) -> Any:
    """Returns nested lists of numbers as an array of an input's dtype; a value of any other kind is an error."""
    import numpy as np

    kind = f"an array or tensor of {known.dtype}, or nested lists of numbers"
    try:
        array = np.asarray(value)
    except ValueError:
        problem = "rows of one length: fill up short rows, and pass a padding mask that is 0 there"
        raise ArgumentError(function, name, value, problem) from None
    except Exception:  # such as a tensor in a list, on a device or with a gradient
        raise ArgumentError(function, name, value, kind) from None
    if array.dtype.kind not in "biuf":
        raise ArgumentError(function, name, value, kind)
    if array.ndim != len(known.shape):
        raise ArgumentError(function, name, value, f"{len(known.shape)} dimensions, not {array.ndim}: {kind}")
    if known.dtype.startswith(("int", "uint")) and array.size:
        limits = np.iinfo(known.dtype)
        if array.dtype.kind == "f" or not (limits.min <= array.min() and array.max() <= limits.max):
            expected = f"whole numbers from {limits.min:,} to {limits.max:,}, in {kind}"
            raise ArgumentError(function, name, value, expected)
    return array.astype(known.dtype)


def inputs_known_as(model: Any, names: Sequence[str]) -> list[str]:
    """Returns a model's names of the inputs that transformers knows by other names, as far as it has them."""
    known = getattr(model, "input", None)
    known = known if isinstance(known, Mapping) else {}
    return [_ALIASES[name] for name in names if _ALIASES[name] in known]


def _like(tokens: Any, value: int) -> Any:
    """Returns an input with one value for each token; Keras mixes no tensors with arrays."""
    import keras
    import numpy as np

    if keras.ops.is_tensor(tokens) or isinstance(tokens, keras.KerasTensor):
        return keras.ops.full_like(tokens, value, dtype="int32")
    return np.full(np.shape(tokens), value, "int32")


def _own_name(backbone: Any, known: Mapping[str, Any], name: str, inputs: Mapping[str, Any]) -> str:
    own = _ALIASES.get(name, name)
    if own == name or own not in known or name in known:
        return name
    if own in inputs:
        raise ValueError(f"A call of {type(backbone).__name__} has the inputs {own!r} and {name!r}: pass one of them.")
    return own


def _refuse_input(backbone: Any, name: str) -> None:
    similar = [] if name in _ALIASES else close_names(name, _input_names(backbone))
    hint = f"; did you mean {similar[0]!r}?" if similar else f"; its inputs are {', '.join(_inputs(backbone))}."
    raise ValueError(f"A call of {type(backbone).__name__} has no input {name!r}{hint}")


def _input_names(backbone: Any) -> list[str]:
    own = list(_inputs(backbone))
    return [*own, *(alias for alias, meant in _ALIASES.items() if meant in own)]


def _refuse_call_arguments(backbone: Any, kwargs: Mapping[str, Any]) -> None:
    for name in kwargs.keys() - _CALL_ARGUMENTS:
        similar = close_names(name, [*_CALL_ARGUMENTS, "adapters", *_input_names(backbone)])
        hint = f"; did you mean {similar[0]!r}?" if similar else "; it takes inputs, training, mask and adapters."
        if name in _input_names(backbone):
            hint = "; pass the inputs in one dict, or each by its name."
        raise TypeError(f"A call of {type(backbone).__name__} has no argument {name!r}{hint}")


def refuse_constructor_arguments(backbone_class: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuses unknown arguments of a constructor, because Keras accepts any, and a backbone without layers."""
    if len(args) + len(kwargs.keys() & {"inputs", "outputs"}) < 2:
        problem = f"{backbone_class.__name__} needs inputs and outputs, which the constructor of an architecture passes"
        raise TypeError(f"{problem}; call from_preset(...), or a class of vertebra.models.")
    for name in kwargs.keys() - {"inputs", "outputs"}:
        similar = close_names(name, inspect.signature(backbone_class).parameters)
        hint = f"; did you mean {similar[0]!r}?" if similar else "."
        raise TypeError(f"{backbone_class.__name__} has no argument {name!r}{hint}")
