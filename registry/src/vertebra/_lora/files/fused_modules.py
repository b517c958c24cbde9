"""Fused projections: several layers of a model that PEFT sees as one module, concatenated on the output axis.

A tensor with an output axis is split among the layers. A tensor without one is the same for all of them: the layers
share the variable, so that further training equals training the fused module. Adapters that were made layer by layer
have separate ranks; fused, they are one adapter of the sum of the ranks, whose output-side matrix is block-diagonal.

PEFT's tensors of a convolution have the axes of torch's kernels: `(rank, channels, *kernel_size)` on the input side,
and axes of size 1 behind those of the output side. Here they are matrices, with an input axis of `(*kernel_size,
channels)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vertebra._lora.layers.adapter_layers import Values, tied_variables
from vertebra._lora.plan import LayerPlan
from vertebra.errors import AdapterMismatchError, LoraConfigError
from vertebra.specs import AdapterTensor
from vertebra.strategies import LoraStrategy

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class FusedModule:
    """The layers that form one module in PEFT; usually a single layer."""

    source: object
    """The file or folder, for messages."""
    module: str
    paths: Sequence[str]
    """Paths of the layers, in the order of their outputs."""
    views: Mapping[str, Any]
    strategy: LoraStrategy
    rank: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    """The strategy's options for these layers."""

    def tensors(self) -> Mapping[str, AdapterTensor]:
        """Returns the strategy's tensors, by name."""
        return self.strategy.tensors_of(self.views[self.paths[0]], self.rank, self.options)

    def widths(self) -> list[int]:
        """Returns the number of outputs of each layer."""
        return [self.views[path].out_features for path in self.paths]

    def has_output_vectors(self) -> bool:
        """Returns whether a tensor has an output axis and no rank axis, as DoRA's lengths."""
        return any("out" in tensor.axes and "rank" not in tensor.axes for tensor in self.tensors().values())

    def plans(self, plan: LayerPlan) -> dict[str, LayerPlan]:
        """Returns the plan of each layer, given the plan of the module."""
        first, *others = self.paths
        tied = tied_variables(self.strategy, self.views[first], self.rank, self.options)
        return {first: plan} | {path: replace(plan, shares=first if tied else None) for path in others}


def flattened(view: Any, needed: Mapping[str, AdapterTensor], tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Returns a module's tensors as matrices and vectors, which those of a convolution are not in PEFT's files.

    Args:
        view: The linear view of a layer of the module.
        needed: The strategy's tensors, by name.
        tensors: The module's tensors, by name; those of another shape are returned as they are.
    """
    return {name: _flat(view, needed[name], array) if name in needed else array for name, array in tensors.items()}


def _flat(view: Any, tensor: AdapterTensor, array: Array) -> Array:
    rank = array.shape[1 if "out" in tensor.axes else 0] if array.ndim > 1 else 0
    if not view.is_convolution or array.shape != _stored_shape(view, tensor, rank):
        return array
    if "in" in tensor.axes:
        return np.moveaxis(array, 1, -1).reshape(rank, -1)
    return array.reshape((view.out_features, rank) if "rank" in tensor.axes else -1)


def _as_stored(view: Any, tensor: AdapterTensor, array: Array) -> Array:
    """Returns a tensor as PEFT's file has it; the inverse of `flattened`."""
    if not view.is_convolution:
        return array
    rank = array.shape[0 if "in" in tensor.axes else -1]
    shape = _stored_shape(view, tensor, rank)
    if "in" in tensor.axes:
        return np.moveaxis(array.reshape(rank, *shape[2:], shape[1]), -1, 1)
    return array.reshape(shape)


def _stored_shape(view: Any, tensor: AdapterTensor, rank: int) -> tuple[int, ...]:
    """Returns the shape of a convolution's tensor in PEFT's files."""
    *size, channels, outputs = view.variable.shape
    if "in" in tensor.axes:
        return (rank, channels, *size)
    ones = (1,) * len(size)
    return (outputs, rank, *ones) if "rank" in tensor.axes else (1, outputs, *ones)


def split(fused: FusedModule, tensors: Mapping[str, Array]) -> Values:
    """Returns the values of each layer's own variables.

    Raises:
        AdapterMismatchError: a tensor is missing or unknown, or has a wrong number of axes or outputs.
    """
    needed = fused.tensors()
    wrong = [f"{fused.module}: {name}" for name in needed.keys() ^ tensors.keys()]
    if wrong:
        raise AdapterMismatchError(fused.source, "lacks tensors, or holds unknown ones", sorted(wrong))
    values: Values = {path: {} for path in fused.paths}
    for name, tensor in needed.items():
        array = tensor.as_variable(tensors[name])
        pieces = _pieces(fused, name, tensor, array)
        values |= {path: values[path] | {tensor.variable: piece} for path, piece in pieces.items()}
    return {path: own for path, own in values.items() if own}


def _pieces(fused: FusedModule, name: str, tensor: AdapterTensor, array: Array) -> dict[str, Array]:
    if array.ndim != len(tensor.axes) or ("out" in tensor.axes and array.shape[-1] != sum(fused.widths())):
        shapes = f"{fused.module}: {name} is {array.dtype} {tensor.as_variable(array).shape}"
        raise AdapterMismatchError(fused.source, "holds tensors of another shape", [shapes])
    if "out" not in tensor.axes:
        return {fused.paths[0]: array}
    ends = np.cumsum(fused.widths())[:-1]
    return dict(zip(fused.paths, np.split(array, ends, axis=-1), strict=True))


def fuse(fused: FusedModule, plans: Mapping[str, LayerPlan], values: Values) -> tuple[LayerPlan, dict[str, Array]]:
    """Returns the plan of the module, and its tensors.

    Args:
        fused: The module.
        plans: The plans of its adapted layers.
        values: The values of the adapted layers' own variables; and, for layers that are not adapted, the values of
            variables with an output axis and no rank axis.
    """
    first = next(iter(plans.values()))
    fused = replace(fused, rank=first.rank)
    if _is_fused(fused, plans):
        return first, _tensors(fused, _joined(fused, values))
    _check_stackable(fused, plans)
    plan = _stacked_plan(fused, plans)
    return plan, _tensors(fused, _stacked(fused, plans, values, plan))


def _check_stackable(fused: FusedModule, plans: Mapping[str, LayerPlan]) -> None:
    """Raises LoraConfigError if adapters of single layers are not an adapter of the module."""
    options = [plan.options for plan in plans.values()]
    fixed = [tensor for tensor in fused.tensors().values() if not {"rank", "out"} & set(tensor.axes)]
    if fixed or any(each != options[0] for each in options):
        expected = f"the same adapter for all layers of the module ({', '.join(fused.paths)}), as PEFT's has"
        remedy = "Merge the adapter, or save it as a .safetensors file"
        raise LoraConfigError("adapter", fused.module, list(plans), expected, remedy)


def _is_fused(fused: FusedModule, plans: Mapping[str, LayerPlan]) -> bool:
    first, *others = fused.paths
    return len(plans) == len(fused.paths) and all(plans[path].shares == first for path in others)


def _tensors(fused: FusedModule, variables: Mapping[str, Array]) -> dict[str, Array]:
    view = fused.views[fused.paths[0]]
    return {
        name: _as_stored(view, tensor, tensor.as_variable(variables[tensor.variable]))
        for name, tensor in fused.tensors().items()
    }


def _joined(fused: FusedModule, values: Values) -> dict[str, Array]:
    """Concatenates values on the output axis; values without that axis are the first layer's."""
    joined = {}
    for tensor in fused.tensors().values():
        own = [values[path][tensor.variable] for path in fused.paths if tensor.variable in values.get(path, {})]
        joined[tensor.variable] = np.concatenate(own, axis=-1) if "out" in tensor.axes else own[0]
    return joined


def _stacked_plan(fused: FusedModule, plans: Mapping[str, LayerPlan]) -> LayerPlan:
    """Returns a plan with the sum of the ranks, and an alpha that gives the scale of the first layer."""
    rank = sum(layer.rank for layer in plans.values())
    first = next(iter(plans.values()))
    scale = fused.strategy.scale(first.rank, first.alpha)
    return replace(first, rank=rank, alpha=scale / fused.strategy.scale(rank, 1.0), shares=None)


def _stacked(fused: FusedModule, plans: Mapping[str, LayerPlan], values: Values, plan: LayerPlan) -> dict[str, Array]:
    scale = fused.strategy.scale(plan.rank, plan.alpha)
    factors = {path: fused.strategy.scale(layer.rank, layer.alpha) / scale for path, layer in plans.items()}
    stacked: dict[str, Array] = {}
    for tensor in fused.tensors().values():
        if "rank" not in tensor.axes:
            stacked[tensor.variable] = np.concatenate([values[path][tensor.variable] for path in fused.paths], axis=-1)
            continue
        own = {path: _value(values, path, layer, tensor.variable) for path, layer in plans.items()}
        if tensor.axes == ("in", "rank"):
            stacked[tensor.variable] = np.concatenate(list(own.values()), axis=1)
        else:
            stacked[tensor.variable] = _blocks(fused, {path: own[path] * np.float32(factors[path]) for path in own})
            factors = dict.fromkeys(plans, 1.0)  # once: the tensors are multiplied
    return stacked


def _value(values: Values, path: str, layer: LayerPlan, variable: str) -> Array:
    own = values.get(path, {})
    array: Array = own[variable] if variable in own else values[layer.shares or path][variable]
    return array


def _blocks(fused: FusedModule, own: Mapping[str, Array]) -> Array:
    """Returns a block-diagonal matrix: each layer's block is in the rows of its rank and the columns of its outputs."""
    matrix = np.zeros((sum(block.shape[0] for block in own.values()), sum(fused.widths())), "float32")
    starts = dict(zip(fused.paths, np.cumsum([0, *fused.widths()]), strict=False))
    row = 0
    for path, block in own.items():
        matrix[row : row + block.shape[0], starts[path] : starts[path] + block.shape[1]] = block
        row += block.shape[0]
    return matrix
