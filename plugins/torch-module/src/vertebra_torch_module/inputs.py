"""Inputs and outputs of a module: their declared shapes, and plain structures of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch

from vertebra_torch_module.errors import TorchModuleError

_DTYPES = ("float32", "float16", "bfloat16", "float64", "int32", "int64", "int16", "int8", "uint8", "bool")
_FORM = (
    'Give the shape without rows and the dtype of each argument of forward, such as {"token_ids": ((None,), "int32")}, '
    'or of the only one: ((3, None, None), "float32")'
)


@dataclasses.dataclass(frozen=True)
class Input:
    """The shape of an input, without its first axis, the rows; None is a size that varies."""

    shape: tuple[int | None, ...]
    dtype: str

    def as_json(self) -> list[Any]:
        """Returns the shape and the dtype, as in a config."""
        return [list(self.shape), self.dtype]


def declared_inputs(given: Any, reference: str) -> Input | dict[str, Input]:
    """Returns the inputs that a user or a config states: an `Input` by name, or only one.

    Raises:
        TorchModuleError: nothing is stated, or something else than shapes and dtypes.
    """
    if given is None:
        raise TorchModuleError(reference, "its inputs are not known", _FORM)
    if isinstance(given, Mapping) and given:
        return {str(name): _input(one, f"its input {name!r}", reference) for name, one in given.items()}
    return _input(given, "its input", reference)


def inputs_as_json(inputs: Input | Mapping[str, Input]) -> Any:
    """Returns inputs as a config has them."""
    return inputs.as_json() if isinstance(inputs, Input) else {name: one.as_json() for name, one in inputs.items()}


def map_inputs(function: Callable[[Input], Any], inputs: Input | Mapping[str, Input]) -> Any:
    """Applies a function to each input, in the same structure."""
    return function(inputs) if isinstance(inputs, Input) else {name: function(one) for name, one in inputs.items()}


def call(module: Callable[..., Any], inputs: Any) -> Any:
    """Calls a module: inputs by name are the arguments of `forward`."""
    return module(**inputs) if isinstance(inputs, Mapping) else module(inputs)


def plain(outputs: Any, reference: str) -> Any:
    """Returns the tensors that a module returned, in dicts and lists; those that are None are left out of dicts.

    Raises:
        TorchModuleError: there is something else than tensors.
    """
    if isinstance(outputs, torch.Tensor):
        return outputs
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, type | Mapping):
        outputs = {field.name: getattr(outputs, field.name) for field in dataclasses.fields(outputs)}
    elif hasattr(outputs, "_asdict"):
        outputs = outputs._asdict()
    if isinstance(outputs, Mapping):
        return {str(name): plain(one, reference) for name, one in outputs.items() if one is not None}
    if isinstance(outputs, list | tuple) and outputs:
        return [plain(one, reference) for one in outputs]
    problem = f"forward returned an object of the type {type(outputs).__name__}, where a tensor was expected"
    raise TorchModuleError(reference, problem, "Return tensors, or dicts or lists of tensors")


def _input(given: Any, subject: str, reference: str) -> Input:
    try:
        shape, dtype = given
        sizes = tuple(shape)
    except (TypeError, ValueError):
        raise TorchModuleError(reference, f"{subject} is {given!r}, and no shape and dtype", _FORM) from None
    if not all(size is None or (type(size) is int and size > 0) for size in sizes):
        raise TorchModuleError(reference, f"{subject} has the shape {sizes!r}", _FORM)
    if dtype not in _DTYPES:
        raise TorchModuleError(reference, f"{subject} has the dtype {dtype!r}", f"Use one of {', '.join(_DTYPES)}")
    return Input(sizes, dtype)
