"""Compiling with `jax.jit`."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from typing import Any

import jax
import keras

from vertebra import lora

_KEPT = 8
"""Sets of variables that a compiled function remembers, such as those of ways of adapting a backbone."""


def compile_backbone(backbone: Any) -> Callable[..., Any]:
    """Returns the forward pass as a jitted function; the weights are its arguments, read at each call.

    It is traced for each shape of the inputs, and again when variables were added, as by `enable_lora`. Adapters of the
    same settings have variables of the same shapes, so swapping or choosing them is no reason.
    """
    sets = VariableSets(backbone)

    def compiled(inputs: Any) -> Any:
        variables, chosen = backbone.variables, {id(variable) for variable in lora.chosen_variables(backbone)}
        program = sets.program([variable for variable in variables if id(variable) not in chosen])
        return program([variable.value for variable in variables], inputs)

    return compiled


class VariableSets:
    """The jitted functions of the sets of variables that a model has had; another object is another variable.

    Each set has a function of its own, because other variables may have the same shapes, and would find the old trace.
    What was compiled for a function goes with it.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._known: list[tuple[list[Any], Callable[..., Any]]] = []
        self._lock = threading.Lock()

    def program(self, variables: list[Any]) -> Callable[..., Any]:
        """Returns the function of a set of variables: of the values of all that the model shows, and the inputs."""
        with self._lock:
            for number, (known, program) in enumerate(self._known):
                if len(known) == len(variables) and all(map(operator.is_, known, variables)):
                    self._known.append(self._known.pop(number))  # the last one that was used is the last to go
                    return program
            self._known = [*self._known, (variables, _program(self._model))][-_KEPT:]
            return self._known[-1][1]


def _program(model: Any) -> Callable[..., Any]:
    def forward(values: Any, inputs: Any) -> Any:
        with keras.StatelessScope(zip(model.variables, values, strict=True)):
            return model(inputs, training=False)

    program: Callable[..., Any] = jax.jit(forward)
    return program
