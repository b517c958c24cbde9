"""Compiling with `jax.jit`."""

from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import keras

from vertebra import lora

_KEPT = 8
"""Sets of variables that a compiled function remembers, such as those of ways of adapting a backbone."""


def compile_backbone(backbone: Any) -> Callable[..., Any]:
    """Returns the forward pass as one jitted function; the weights are its arguments, read at each call.

    It is traced for each shape of the inputs, and again when variables were added, as by `enable_lora`. Adapters of the
    same settings have variables of the same shapes, so swapping or choosing them is no reason.
    """
    sets = VariableSets()

    @partial(jax.jit, static_argnums=0)
    def forward(_number: int, values: Any, inputs: Any) -> Any:
        with keras.StatelessScope(zip(backbone.variables, values, strict=True)):
            return backbone(inputs, training=False)

    def compiled(inputs: Any) -> Any:
        # A number, because other variables may have the same shapes, and would find the old trace.
        variables, chosen = backbone.variables, {id(variable) for variable in lora.chosen_variables(backbone)}
        number = sets.number([variable for variable in variables if id(variable) not in chosen])
        return forward(number, [variable.value for variable in variables], inputs)

    return compiled


class VariableSets:
    """Numbers for the sets of variables that a model has had; another object is another variable."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._known: dict[int, list[Any]] = {}
        self._lock = threading.Lock()

    def number(self, variables: list[Any]) -> int:
        """Returns the number of a set of variables."""
        with self._lock:
            for number, known in self._known.items():
                if len(known) == len(variables) and all(map(operator.is_, known, variables)):
                    return number
            number = next(self._numbers)
            self._known[number] = variables  # held, so that no other variable is given the place of one of them
            if len(self._known) > _KEPT:
                del self._known[next(iter(self._known))]
            return number
