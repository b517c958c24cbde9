"""Checks the arguments of a config, and those that override it, against a class's constructor."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

from vertebra._keras.dtype_names import dtype_problem
from vertebra.errors import PresetConfigError, close_names
from vertebra.errors.base import shown

BASE_ARGUMENTS = {"name": str, "trainable": bool, "dtype": object, "lora": dict | None, "quantized": dict}
"""The arguments that configs of every class may have, with their types."""
# Keras would import any class that the config of a dtype policy names, so a preset may give only a policy's name.
_AS_DATA = {"dtype": str}


def check_config(backbone_class: Any, arguments: Mapping[str, Any], origin: str) -> None:
    """Checks the arguments of a config against the constructor's; see `check_overrides`.

    Raises:
        PresetConfigError: an argument is unknown or has a wrong type.
    """
    known = {**BASE_ARGUMENTS, **backbone_class._constructor_arguments()} | _AS_DATA
    _check_arguments(backbone_class, arguments, known, origin)


def check_overrides(backbone_class: Any, overrides: Mapping[str, Any], origin: str) -> None:
    """Checks overrides against the constructor's arguments.

    Args:
        backbone_class: The class.
        overrides: The overrides by name.
        origin: The call that they are passed to, for messages.

    Raises:
        PresetConfigError: an argument is unknown or has a wrong type, or the dtype is no dtype policy.
    """
    known = {**BASE_ARGUMENTS, **backbone_class._constructor_arguments()}
    _check_arguments(backbone_class, overrides, known, origin, "Correct the argument")
    if problem := dtype_problem(overrides.get("dtype")):
        raise PresetConfigError(origin, problem, "Correct the argument")


def _check_arguments(
    backbone_class: Any, arguments: Mapping[str, Any], known: Mapping[str, Any], origin: str, remedy: str = ""
) -> None:
    """Checks the names and types of arguments against those of the constructor, before it is called."""
    for name, value in arguments.items():
        if name not in known:
            similar = close_names(name, known)
            hint = f", did you mean {similar[0]!r}?" if similar else ""
            raise PresetConfigError(origin, f"{backbone_class.__name__} has no argument {name!r}{hint}", remedy)
        if not _fits(value, known[name]):
            wanted = getattr(known[name], "__name__", str(known[name]))
            raise PresetConfigError(origin, f"{name} is {shown(value)}, expected a value of type {wanted}", remedy)


def _fits(value: object, hint: Any) -> bool:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_fits(value, choice) for choice in typing.get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return type(value) is int
    return hint is Any or not isinstance(hint, type) or isinstance(value, hint)
