"""Compiles the forward pass into flat sequences of kernel calls."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch

from vertebra import layers, lora
from vertebra_torch.flattening import as_tensors, flattened
from vertebra_torch.graphs import tracing
from vertebra_torch.kernels import choices, packing
from vertebra_torch.meshes.calls import mesh_of

_KEPT = 8
"""Number of sets of variables for which graphs are kept; enabling an adapter, for example, adds a set."""
_UNTRACED = 3
"""Number of calls of a step before it is traced."""
_tracing = threading.Lock()
"""torch's tracer keeps its state in global variables, so only one thread may trace at a time."""


class CompiledFunction:
    """The forward pass as a traced graph, without autograd; the graph holds the weights themselves, not copies.

    It is traced for the first shape of the inputs, at the second one, or if packed, for all shapes that the layers
    treat alike, and again if variables are added, as by `enable_lora`. Adapters with equal settings share variables, so
    to switch between them causes no new trace; adapters chosen for one call are arguments of the graph. It needs no C++
    compiler, unlike `torch.compile` on the CPU.

    Args:
        backbone: The model.
        sets: The graphs that are traced already, if another function shares them.
        weights: Packed copies of weights that do not change, or None to read the weights at each call.
    """

    def __init__(
        self, backbone: Any, sets: VariableSets | None = None, weights: packing.PackedWeights | None = None
    ) -> None:
        self._backbone, self._sets, self._weights = backbone, sets or VariableSets(), weights

    def __call__(self, inputs: Any, tokens: Any = None) -> Any:
        if mesh_of(self._backbone) is not None:  # a graph has other kernels than DTensors have
            with torch.no_grad():
                return self._forward(inputs, tuple(tokens or ()))
        bound = BoundFunction(self._backbone, self._forward, self._sets, self._weights, self._weights is not None)
        return bound(inputs, tuple(tokens or ()))

    def packed(self) -> CompiledFunction:
        """Returns the function for weights that do not change; it shares the graphs."""
        return CompiledFunction(self._backbone, self._sets, packing.PackedWeights())

    def _forward(self, inputs: Any, tokens: Any) -> Any:
        with layers.computing(layers.Tokens(*tokens) if tokens else None):
            return self._backbone(inputs, training=False)


class CompiledStep:
    """A step of a loop as traced graphs: a function of inputs and a state, whose tensors it may change.

    The first calls are not traced, which takes as long as many of them: a program may make no more.

    Args:
        model: The model whose variables the step reads.
        step: The function `(inputs, state) -> (outputs, state)`.
    """

    def __init__(self, model: Any, step: Callable[..., Any]) -> None:
        self._model, self._step, self._sets = model, step, VariableSets()
        self._weights: packing.PackedWeights | None = None

    def __call__(self) -> BoundFunction:
        """Returns the step for the present variables of the model, and the adapters that are chosen now."""
        return BoundFunction(self._model, self._step, self._sets, self._weights, untraced=_UNTRACED)

    def packed(self) -> CompiledStep:
        """Returns the step for weights that do not change; it shares the graphs."""
        other = CompiledStep(self._model, self._step)
        other._sets, other._weights = self._sets, packing.PackedWeights()
        return other


class BoundFunction:
    """A function for the variables that a model has now, and the adapters that are chosen now.

    Args:
        model: The model.
        function: The function of tensors, in any structure.
        sets: The graphs of the function.
        weights: As in `CompiledFunction`.
        for_all_shapes: Whether the first graph is for all shapes already.
        untraced: Number of calls that are computed without a graph.
    """

    def __init__(
        self,
        model: Any,
        function: Callable[..., Any],
        sets: VariableSets,
        weights: packing.PackedWeights | None = None,
        for_all_shapes: bool = False,
        untraced: int = 0,
    ) -> None:
        self._function, self._weights, self._for_all_shapes = function, weights, for_all_shapes
        self._untraced = untraced
        self._chosen = lora.chosen_variables(model)
        self._graphs = sets.graphs(_without(model.variables, self._chosen))
        self._last: tuple[tracing.Graph | None, Sequence[packing.PackedWeight | None]] = (None, ())

    def __call__(self, *arguments: Any) -> Any:
        leaves: list[Any] = []
        structure = flattened(arguments, leaves)
        tensors = as_tensors(leaves)
        tensors += [variable.value for variable in self._chosen]
        with torch.no_grad():
            forward = _flat(self._function, arguments, len(leaves), self._chosen)
            if self._graphs.count_call(tensors) <= self._untraced:
                return forward(*tensors)
            graph = self._graphs.graph(structure, forward, tensors, for_all_shapes=self._for_all_shapes)
            outputs = graph.fused.call(*tensors, *self._packed(graph))
            choices.save()
            return outputs

    def _packed(self, graph: tracing.Graph) -> Sequence[packing.PackedWeight | None]:
        known, packed = self._last
        if known is not graph:
            weights = graph.fused.weights
            packed = [None] * len(weights) if self._weights is None else self._weights.packed(weights)
            self._last = graph, packed
        return packed


class Graphs:
    """The graphs for one set of variables."""

    def __init__(self) -> None:
        self._by_shape: dict[Any, tracing.Graph] = {}
        self._traced: dict[Any, list[tracing.Graph]] = {}
        self._calls = 0
        self._untraced: set[Any] = set()

    def count_call(self, tensors: Sequence[torch.Tensor]) -> int:
        """Counts a call, and notes its shapes if nothing is traced yet; returns the number of calls so far."""
        self._calls += 1
        if not self._traced:
            self._untraced.add(tuple(tensor.shape for tensor in tensors))
        return self._calls

    def graph(
        self, structure: Any, forward: Callable[..., Any], tensors: list[torch.Tensor], *, for_all_shapes: bool
    ) -> tracing.Graph:
        """Returns the graph for inputs of a structure; it is traced if none is right for their shapes.

        The first graph is for one shape, unless others will surely follow: a graph for all takes longer to trace.
        """
        key = (structure, *((tensor.dtype, tensor.device) for tensor in tensors))
        shapes = (key, *(tensor.shape for tensor in tensors))
        if shapes not in self._by_shape:
            with _tracing:
                if shapes not in self._by_shape:
                    traced = self._traced.setdefault(key, [])
                    graph = next((graph for graph in traced if graph.accepts(tensors)), None)
                    if graph is None:
                        several = for_all_shapes or bool(traced) or len(self._untraced) > 1
                        graph = tracing.trace(forward, tensors, for_all_shapes=several)
                        traced.append(graph)
                    self._by_shape[shapes] = graph
        return self._by_shape[shapes]


class VariableSets:
    """The graphs of a model, for each set of variables; variables are compared by identity."""

    def __init__(self) -> None:
        self._known: list[tuple[list[Any], Graphs]] = []
        self._lock = threading.Lock()

    def graphs(self, variables: list[Any]) -> Graphs:
        """Returns the graphs that hold a set of variables."""
        with self._lock:
            for number, (known, graphs) in enumerate(self._known):
                if len(known) == len(variables) and all(map(operator.is_, known, variables)):
                    self._known.append(self._known.pop(number))  # the least recently used set is dropped first
                    return graphs
            self._known = [*self._known, (variables, Graphs())][-_KEPT:]
            return self._known[-1][1]


def _without(variables: list[Any], chosen: list[Any]) -> list[Any]:
    identities = {id(variable) for variable in chosen}
    return [variable for variable in variables if id(variable) not in identities]


def _flat(function: Callable[..., Any], arguments: Any, count: int, chosen: list[Any]) -> Callable[..., Any]:
    """Returns a function of the flat arguments, and the values of chosen variables."""

    def forward(*flat: torch.Tensor) -> Any:
        with keras.StatelessScope(zip(chosen, flat[count:], strict=True)):
            return function(*keras.tree.pack_sequence_as(arguments, flat[:count]))

    return forward
