"""Tensors of which each process of a mesh holds a part, and the parts of a tensor."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard

from vertebra.errors import MeshError
from vertebra_torch.meshes.operations import without_parts
from vertebra_torch.values.tensors import to_tensor

if TYPE_CHECKING:
    import numpy as np

Slices = tuple[slice, ...]


def mesh_sizes(mesh: Any) -> Mapping[str, int] | None:
    """Returns the sizes of a mesh's axes; the arguments and the errors are those of `vertebra.Runtime`.

    Raises:
        MeshError: it is a mesh of Keras, for which the installed Keras has no processes on torch.
    """
    mesh = _own_mesh(mesh)
    return None if mesh is None else dict(zip(axis_names(mesh), mesh.shape, strict=True))


def axis_names(mesh: DeviceMesh) -> tuple[str, ...]:
    """Returns the names of a mesh's axes."""
    return mesh.mesh_dim_names or tuple(f"axis_{number}" for number in range(mesh.ndim))


def require_mesh(mesh: Any) -> DeviceMesh:
    """Returns a mesh of torch.

    Raises:
        MeshError: it is none, or this process is none of its processes.
    """
    own = _own_mesh(mesh)
    if own is None:
        problem = f"it is a {type(mesh).__name__}, and weights on torch need a DeviceMesh of torch.distributed"
        raise MeshError(problem, "Make one with torch.distributed.init_device_mesh")
    if own.get_coordinate() is None:
        problem = (
            f"this process, rank {torch.distributed.get_rank()}, is not among its ranks {own.mesh.flatten().tolist()}"
        )
        raise MeshError(problem, "Use the mesh in its own processes only")
    return own


def _own_mesh(mesh: Any) -> DeviceMesh | None:
    """Returns a mesh of torch, or that of a mesh of Keras if the installed Keras makes one on torch."""
    if not isinstance(mesh, keras.distribution.DeviceMesh):
        return mesh if isinstance(mesh, DeviceMesh) else None
    try:
        made = mesh.backend_mesh
    except (AttributeError, NotImplementedError):
        made = None
    if isinstance(made, DeviceMesh):
        return made
    problem = f"it is a keras.distribution.DeviceMesh, and Keras {keras.__version__} divides no tensors on torch"
    raise MeshError(problem, "Make the mesh with torch.distributed.init_device_mesh")


def divide(
    mesh: Any,
    divided: Sequence[Sequence[str]],
    shape: Sequence[int],
    dtype: str,
    part: Callable[[Slices], np.ndarray[Any, Any]],
) -> DTensor:
    """Returns a tensor of which this process holds its part; the arguments are those of `vertebra.Runtime`."""
    mesh = require_mesh(mesh)
    axes = _axes_of(axis_names(mesh), divided)
    placements = [Replicate() if axis is None else Shard(axis) for axis in axes]
    array = part(_slices(mesh, placements, shape))
    if not array.flags.c_contiguous:
        _read_no_neighbours(array)
    local = to_tensor(array, dtype)
    whole = torch.empty(tuple(shape), dtype=local.dtype, device="meta")
    return DTensor.from_local(local, mesh, placements, run_check=False, shape=whole.shape, stride=whole.stride())


def own_parts(tensor: Any) -> list[tuple[Slices, np.ndarray[Any, Any]]]:
    """Returns the parts that this process writes: of processes with the same part, only the first writes it.

    A tensor that is no DTensor is written by rank 0.
    """
    if not isinstance(tensor, DTensor):
        first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
        return [(tuple(slice(0, size) for size in tensor.shape), _array(tensor))] if first else []
    coordinate = tensor.device_mesh.get_coordinate()
    if coordinate is None:
        return []
    tensor = without_parts(tensor)
    copies = [number for number, split in zip(coordinate, tensor.placements, strict=True) if not split.is_shard()]
    if any(copies):
        return []
    return [(_slices(tensor.device_mesh, tensor.placements, tensor.shape), _array(local_part(tensor)))]


def sample(tensor: Any, step: int) -> np.ndarray[Any, Any] | None:
    """Returns every `step`-th value of a divided tensor in row-major order, or None if the tensor is not divided."""
    if not isinstance(tensor, DTensor):
        return None
    mesh, local = tensor.device_mesh, local_part(tensor)
    numbers = torch.arange(0, tensor.numel(), step)
    inside = torch.ones(len(numbers), dtype=torch.bool)
    positions, rest = [], numbers
    for own, size in zip(reversed(_slices(mesh, tensor.placements, tensor.shape)), reversed(tensor.shape), strict=True):
        axis, rest = rest % size, rest // size
        inside &= (axis >= own.start) & (axis < own.stop)
        positions.append(axis - own.start)
    found = local[tuple(axis[inside].to(local.device) for axis in reversed(positions))]
    values = torch.zeros(len(numbers), dtype=found.dtype, device=local.device)
    values[inside.to(local.device)] = found
    addends = [Partial() if isinstance(split, Shard) else Replicate() for split in tensor.placements]
    whole = without_parts(DTensor.from_local(values, mesh, addends, run_check=False))
    return _array(local_part(whole))


def local_part(tensor: DTensor) -> torch.Tensor:
    """Returns this process's part of a tensor, without gradients."""
    with torch.no_grad():
        local: torch.Tensor = tensor.to_local()
        return local.detach()


def _read_no_neighbours(array: np.ndarray[Any, Any]) -> None:
    """Tells the system not to read the pages around those that are used, if an array with gaps views a file.

    It reads 32 pages at a time otherwise: with parts of columns, all of the file.
    """
    if array.nbytes < mmap.PAGESIZE or not hasattr(mmap, "MADV_RANDOM"):
        return
    span = sum((size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)) + array.itemsize
    start = array.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
    length = array.ctypes.data + span - start
    ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_RANDOM)


def _axes_of(names: Sequence[str], divided: Sequence[Sequence[str]]) -> list[int | None]:
    """Returns the axis of a tensor that each axis of a mesh divides."""
    axis_of = {name: axis for axis, dividing in enumerate(divided) for name in dividing}
    return [axis_of.get(name) for name in names]


def _slices(mesh: DeviceMesh, placements: Sequence[Placement], shape: Sequence[int]) -> Slices:
    """Returns the indexes of this process's part of a tensor, whose divided axes are divisible."""
    starts, sizes = [0] * len(shape), list(shape)
    coordinate = mesh.get_coordinate() or []
    for number, count, split in zip(coordinate, mesh.shape, placements, strict=True):
        if isinstance(split, Shard):
            sizes[split.dim] //= count
            starts[split.dim] += number * sizes[split.dim]
    return tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))


def _array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Returns the values of a tensor, viewed where they are in memory."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    if not tensor.dtype.is_floating_point or tensor.element_size() > 1:
        return tensor.numpy()
    array: np.ndarray[Any, Any] = keras.ops.convert_to_numpy(tensor)
    return array
