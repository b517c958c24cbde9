"""Weights that are divided along an axis of use `fsdp`, gathered for the layers that use them (ZeRO-3)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import keras
import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate
from torch.multiprocessing.reductions import StorageWeakRef

from vertebra_torch.meshes.operations import with_placements
from vertebra_torch.meshes.parts import local_part


class Gathered(keras.StatelessScope):  # type: ignore[misc]
    """The scope of a call, in which reading a variable returns its value as the layers need it.

    Args:
        model: The model.
        mesh: The mesh of its weights.
        numbers: The numbers of the mesh's axes along which weights are gathered.
    """

    def __init__(self, model: Any, mesh: DeviceMesh, numbers: Sequence[int]) -> None:
        super().__init__(initialize_variables=False)
        self._own = {id(variable): variable.value for variable in model.variables}
        self._mesh, self._numbers = mesh, numbers
        self._updates: dict[int, tuple[Any, Any]] = {}
        self._sources: dict[StorageWeakRef, DTensor] = {}

    def get_current_value(self, variable: Any) -> Any:
        """Returns the value of a variable, gathered; None if the model has no such variable."""
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            value = self.original_scope.get_current_value(variable)  # such as chosen adapters
        if value is None:
            value = self._own.get(id(variable))
        return self._gathered(value) if isinstance(value, DTensor) else value

    def add_update(self, update: tuple[Any, Any]) -> None:
        super().add_update(update)
        self._updates[id(update[0])] = update

    def apply_updates(self) -> None:
        """Assigns the values that the call gave to variables, such as the states of random seeds."""
        for variable, value in self._updates.values():
            variable.assign(value)

    def gathering_again(self) -> AbstractContextManager[Any]:
        """Returns a context that saves no gathered weights for the backward pass, which gathers them again."""
        if not self._numbers or not torch.is_grad_enabled():
            return contextlib.nullcontext()
        return torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack)

    def _gathered(self, value: DTensor) -> DTensor:
        wanted = self._wanted(value)
        is_divided = wanted != tuple(value.placements)
        if not is_divided and not value.requires_grad:
            return value
        # Where the placements are equal, too: the backward pass reduces the gradient to that of the weight.
        whole = _Whole.apply(value, wanted)  # type: ignore[no-untyped-call]
        if is_divided:
            self._sources[StorageWeakRef(local_part(whole).untyped_storage())] = value
        return whole

    def _wanted(self, value: DTensor) -> tuple[Placement, ...]:
        splits = enumerate(value.placements)
        return tuple(Replicate() if number in self._numbers else split for number, split in splits)

    def _pack(self, tensor: torch.Tensor) -> Any:
        if not isinstance(tensor, DTensor):
            return tensor
        local = local_part(tensor)
        source = self._sources.get(StorageWeakRef(local.untyped_storage()))
        if source is None:
            return tensor
        strides = (local.size(), local.stride(), local.storage_offset())
        return _Again(source, self._wanted(source), tuple(tensor.placements), strides, tensor.shape, tensor.stride())


class _Whole(torch.autograd.Function):
    """A weight in the placements that layers need; its gradient in its own, as a shorter way than through both."""

    @staticmethod
    def forward(ctx: Any, weight: DTensor, placements: Sequence[Placement]) -> DTensor:
        ctx.placements = weight.placements
        return weight.redistribute(placements=placements)

    @staticmethod
    def backward(ctx: Any, *gradients: DTensor) -> tuple[DTensor, None]:
        return with_placements(gradients[0], ctx.placements), None


class _Again(NamedTuple):
    """A gathered weight, or a view of it, that the backward pass gathers again."""

    source: DTensor
    gathered: tuple[Placement, ...]
    placements: tuple[Placement, ...]
    local: tuple[Any, ...]
    """Size, strides and offset of the local part."""
    shape: torch.Size
    strides: tuple[int, ...]


def _unpack(packed: Any) -> Any:
    if not isinstance(packed, _Again):
        return packed
    with torch.no_grad():
        whole = local_part(packed.source.redistribute(placements=packed.gathered))
        local = whole.as_strided(*packed.local)
    mesh, targets = packed.source.device_mesh, packed.placements
    return DTensor.from_local(local, mesh, targets, run_check=False, shape=packed.shape, stride=packed.strides)
