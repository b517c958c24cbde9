"""Compiling with `jax.jit`."""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Callable
from typing import Any

import jax
import keras

from vertebra import layers, lora
from vertebra_jax.bucketing import Buckets, padded
from vertebra_jax.threads import require_threads

_KEPT = 8
"""Number of sets of variables for which a compiled function is kept; enabling an adapter, for example, adds a set."""


def compile_backbone(backbone: Any) -> Callable[..., Any]:
    """Returns the forward pass as a jitted function; the weights are its arguments, read at each call.

    It is traced for the first shapes of the inputs, then for a few larger ones to which other batches of tokens are
    padded, and again if variables are added, as by `enable_lora`. Adapters with equal settings have variables of equal
    shapes, so to switch between them causes no new trace.
    """
    sets, buckets = VariableSets(backbone), Buckets(backbone)

    def compiled(inputs: Any, tokens: Any = None) -> Any:
        require_threads()
        variables, chosen = backbone.variables, {id(variable) for variable in lora.chosen_variables(backbone)}
        program = sets.program([variable for variable in variables if id(variable) not in chosen])
        values = [variable.value for variable in variables]
        larger = buckets.larger(inputs, same_rows=bool(chosen)) if tokens is None else None
        if larger is None:
            return program(values, inputs, tokens)
        return buckets.cut(program(values, padded(inputs, larger), None), inputs["token_ids"].shape)

    return compiled


class CompiledStep:
    """A step of a loop as a jitted function of inputs and a state, whose memory it uses for the next state.

    Args:
        model: The model whose variables the step reads.
        step: The function `(inputs, state) -> (outputs, state)`.
    """

    def __init__(self, model: Any, step: Callable[..., Any]) -> None:
        def stateless(values: Any, inputs: Any, state: Any) -> Any:
            with keras.StatelessScope(zip(model.variables, values, strict=True)):
                return step(inputs, state)

        self._model = model
        self._sets = VariableSets(model, lambda: jax.jit(stateless, donate_argnums=2))

    def __call__(self) -> Callable[..., Any]:
        """Returns the step for the present variables of the model, and the adapters that are chosen now."""
        require_threads()
        variables, chosen = self._model.variables, {id(variable) for variable in lora.chosen_variables(self._model)}
        program = self._sets.program([variable for variable in variables if id(variable) not in chosen])
        return functools.partial(program, [variable.value for variable in variables])


class VariableSets:
    """The jitted functions of a model, one for each set of variables; variables are compared by identity.

    A set needs a separate function, because other variables of the same shapes would use its traces. If a function is
    dropped, so are its compiled programs.

    Args:
        model: The model.
        new: Returns a new jitted function; None means one of the forward pass.
    """

    def __init__(self, model: Any, new: Callable[[], Callable[..., Any]] | None = None) -> None:
        self._new = new or functools.partial(_program, model)
        self._known: list[tuple[list[Any], Callable[..., Any]]] = []
        self._lock = threading.Lock()

    def program(self, variables: list[Any]) -> Callable[..., Any]:
        """Returns the function for a set of variables; its arguments are the values of all variables and the inputs."""
        with self._lock:
            for number, (known, program) in enumerate(self._known):
                if len(known) == len(variables) and all(map(operator.is_, known, variables)):
                    self._known.append(self._known.pop(number))  # the least recently used set is dropped first
                    return program
            self._known = [*self._known, (variables, self._new())][-_KEPT:]
            return self._known[-1][1]


def _program(model: Any) -> Callable[..., Any]:
    """Returns the jitted forward pass, with the outputs in the model's structure and the keys of dicts in its order."""
    structure: list[Any] = []  # JAX sorts the keys of dicts, so the function that it compiles returns a flat list

    def forward(values: Any, inputs: Any, tokens: Any = None) -> Any:
        with keras.StatelessScope(zip(model.variables, values, strict=True)), layers.computing(tokens):
            outputs = model(inputs, training=False)
        structure[:] = [keras.tree.map_structure(lambda _: 0, outputs)]
        return keras.tree.flatten(outputs)

    program = jax.jit(forward)

    @functools.wraps(forward)
    def in_order(values: Any, inputs: Any, tokens: Any = None) -> Any:
        outputs = program(values, inputs, tokens)
        return keras.tree.pack_sequence_as(structure[0], outputs)

    return in_order
