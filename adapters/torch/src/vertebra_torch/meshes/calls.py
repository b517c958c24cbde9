"""Calls of a backbone on a mesh: its weights, inputs and outputs are DTensors."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard

from vertebra_torch.meshes.dropping import drawing
from vertebra_torch.meshes.gathering import Gathered
from vertebra_torch.meshes.operations import Mixed, replicated, with_placements


def mesh_of(model: Any) -> DeviceMesh | None:
    """Returns the mesh on which the weights of a model are, or None."""
    if getattr(model, "placement", None) is None:
        return None
    found = (variable.value for variable in model.variables)
    return next((value.device_mesh for value in found if isinstance(value, DTensor)), None)


@contextlib.contextmanager
def computing(model: Any, mesh: DeviceMesh) -> Iterator[None]:
    """Lets the layers of a model compute within a `with` block: its weights are DTensors, other tensors need not be.

    Each weight is gathered along the mesh's axes of use `fsdp` where a layer reads it. A gradient is reduced to the
    placement of its weight, and so gathers again in the backward pass instead of keeping the gathered weights.
    """
    scope = Gathered(model, mesh, _numbers(model.placement, ("fsdp",)))
    with scope, scope.gathering_again(), drawing(mesh), Mixed(mesh):
        yield
    scope.apply_updates()


def distribute_rows(receipt: Any, mesh: DeviceMesh, inputs: Any) -> Any:
    """Returns inputs as DTensors: rows are divided along axes of use `data` and `fsdp`, if their number is divisible.

    Args:
        receipt: The placement of the backbone.
        mesh: Its mesh.
        inputs: Tensors, arrays or numbers in any structure, which are those of all rows, the same in each process;
            DTensors stay as they are.
    """
    inputs = keras.tree.map_structure(_tensor, inputs)
    numbers = _numbers(receipt, ("data", "fsdp"))
    parts = math.prod(mesh.size(number) for number in numbers)
    rows = {leaf.shape[0] if leaf.ndim else 1 for leaf in keras.tree.flatten(inputs) if isinstance(leaf, torch.Tensor)}
    even = all(count % parts == 0 for count in rows)
    targets = [Shard(0) if even and number in numbers else Replicate() for number in range(mesh.ndim)]
    return keras.tree.map_structure(lambda leaf: _placed(leaf, mesh, targets), inputs)


def _tensor(leaf: Any) -> Any:
    return leaf if leaf is None or isinstance(leaf, bool) else keras.ops.convert_to_tensor(leaf)


def _placed(leaf: Any, mesh: DeviceMesh, placements: Sequence[Placement]) -> Any:
    if isinstance(leaf, DTensor) or not isinstance(leaf, torch.Tensor):
        return leaf
    return replicated(leaf, mesh).redistribute(placements=placements)


def _numbers(receipt: Any, uses: Sequence[str]) -> list[int]:
    """Returns the numbers of the mesh's axes of some uses."""
    return [number for number, axis in enumerate(receipt.axes) if axis.parallel in uses and axis.size > 1]


def whole(outputs: Any) -> Any:
    """Returns outputs as tensors that each process has as a whole, for layers that know nothing of the mesh."""
    return keras.tree.map_structure(lambda leaf: _whole(leaf) if isinstance(leaf, DTensor) else leaf, outputs)


def _whole(tensor: DTensor) -> torch.Tensor:
    whole: torch.Tensor = with_placements(tensor, [Replicate()] * tensor.device_mesh.ndim).to_local()
    return whole
