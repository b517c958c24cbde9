"""Compiles the forward pass with torch's own tracer, into one flat sequence of kernel calls."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from typing import Any

import keras
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from vertebra import lora

_KEPT = 8
"""Number of sets of variables for which graphs are kept; enabling an adapter, for example, adds a set."""
_tracing = threading.Lock()
"""torch's tracer keeps its state in global variables, so only one thread may trace at a time."""


def compile_backbone(backbone: Any) -> Callable[..., Any]:
    """Returns the forward pass as a traced graph, without autograd; the graph holds the weights themselves, not copies.

    It is traced for each shape of the inputs, and again if variables are added, as by `enable_lora`. Adapters with
    equal settings share variables, so to switch between them causes no new trace; adapters chosen for one call are
    arguments of the graph. It needs no C++ compiler, unlike `torch.compile` on the CPU.
    """
    sets = VariableSets()

    def compiled(inputs: Any) -> Any:
        chosen = lora.chosen_variables(backbone)
        tensors = [keras.ops.convert_to_tensor(value) for value in keras.tree.flatten(inputs)]
        tensors += [variable.value for variable in chosen]
        structure = repr(keras.tree.map_structure(lambda _: 0, inputs))  # names of inputs, or their order
        key = (structure, *((tuple(t.shape), t.dtype, t.device) for t in tensors))
        with torch.no_grad():
            graphs = sets.graphs(_without(backbone.variables, chosen))
            if key not in graphs:
                with _tracing:
                    if key not in graphs:
                        graphs[key] = _trace(backbone, inputs, tensors, chosen)
            return graphs[key](*tensors)

    return compiled


class VariableSets:
    """The graphs of a model, for each set of variables; variables are compared by identity."""

    def __init__(self) -> None:
        self._known: list[tuple[list[Any], dict[Any, Callable[..., Any]]]] = []
        self._lock = threading.Lock()

    def graphs(self, variables: list[Any]) -> dict[Any, Callable[..., Any]]:
        """Returns the graphs that hold a set of variables, by the structure and shapes of the inputs."""
        with self._lock:
            for number, (known, graphs) in enumerate(self._known):
                if len(known) == len(variables) and all(map(operator.is_, known, variables)):
                    self._known.append(self._known.pop(number))  # the least recently used set is dropped first
                    return graphs
            self._known = [*self._known, (variables, {})][-_KEPT:]
            return self._known[-1][1]


def _without(variables: list[Any], chosen: list[Any]) -> list[Any]:
    identities = {id(variable) for variable in chosen}
    return [variable for variable in variables if id(variable) not in identities]


def _trace(backbone: Any, inputs: Any, tensors: list[torch.Tensor], chosen: list[Any]) -> Callable[..., Any]:
    count = len(tensors) - len(chosen)

    def forward(*flat: torch.Tensor) -> Any:
        with keras.StatelessScope(zip(chosen, flat[count:], strict=True)):
            return backbone(keras.tree.pack_sequence_as(inputs, flat[:count]), training=False)

    graph = make_fx(forward)(*tensors)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph.forward  # not __call__, which the tracer replaces while another thread traces
