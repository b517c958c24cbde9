"""Meshes of devices: tensors divided among them, and messages between their processes."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vertebra.errors import MeshError
from vertebra_jax.threads import require_threads

_rounds: defaultdict[str, itertools.count[int]] = defaultdict(itertools.count)
"""For each set of processes, the number of the next exchange, which is the same in all of them."""

Index = tuple[slice, ...]


def mesh_sizes(mesh: Any) -> Mapping[str, int] | None:
    """Returns the sizes of the axes of a mesh of JAX or of Keras, or None if it is neither."""
    if not isinstance(mesh, Mesh | keras.distribution.DeviceMesh):
        return None
    names = mesh.axis_names
    shape = mesh.devices.shape
    return {str(name): int(size) for name, size in zip(names, shape, strict=True)}


def mesh_of(mesh: Any) -> Mesh:
    """Returns the mesh of JAX, whose compiler chooses where intermediate results are.

    `jax.make_mesh` makes axes that are `Explicit`: each operation would have to name where its result is, which Keras's
    do not.
    """
    found = mesh if isinstance(mesh, Mesh) else mesh.backend_mesh
    return Mesh(found.devices, found.axis_names)


def sharding(mesh: Any, divided: Sequence[Sequence[str]]) -> NamedSharding:
    """Returns how a tensor is divided: for each of its axes along the named axes of a mesh."""
    found = mesh_of(mesh)
    axes = {str(name): name for name in found.axis_names}
    parts = [tuple(axes[name] for name in names) for names in divided]
    return NamedSharding(found, PartitionSpec(*(names or None for names in parts)))


def divide(
    mesh: Any, divided: Sequence[Sequence[str]], shape: Sequence[int], dtype: str, part: Callable[[Index], Any]
) -> Any:
    """Returns a divided tensor; devices with the same part share the array that `part` returned for it, on CPUs.

    The memory of an array is viewed under the conditions of `vertebra_jax.tensors.to_tensor`.
    """
    require_threads()
    wanted, whole = sharding(mesh, divided), tuple(shape)
    arrays: dict[tuple[tuple[int, int], ...], Any] = {}
    held = []
    for device, index in wanted.addressable_devices_indices_map(whole).items():
        bounds = _bounds(index or (), whole)
        if bounds not in arrays:
            array = part(tuple(slice(*ends) for ends in bounds))
            arrays[bounds] = array if array.dtype.name == dtype else array.astype(jax.numpy.dtype(dtype))
        held.append(jax.device_put(arrays[bounds], device))
    if not held:
        raise MeshError(_elsewhere(), "Call from_preset in the processes whose devices the mesh has")
    return jax.make_array_from_single_device_arrays(whole, wanted, held)


def own_parts(tensor: Any) -> list[tuple[Index, Any]]:
    """Returns the parts of which this process has the first copy."""
    return [
        (tuple(slice(*ends) for ends in _bounds(shard.index, tensor.shape)), np.asarray(shard.data))
        for shard in tensor.addressable_shards
        if shard.replica_id == 0
    ]


def is_divided(tensor: Any) -> bool:
    """Returns whether no device has all of a tensor."""
    return isinstance(tensor, jax.Array) and not tensor.is_fully_replicated


def sample_divided(tensor: Any, step: int) -> Any:
    """Returns every `step`-th value of a divided tensor, without gathering the others."""
    positions = np.unravel_index(np.arange(0, tensor.size, step), tensor.shape)
    whole = NamedSharding(tensor.sharding.mesh, PartitionSpec())
    return np.asarray(jax.jit(lambda values: values[positions], out_shardings=whole)(tensor))


def equalize(model: Any, variables: Sequence[Any]) -> None:
    """Gives variables the values that they have in the first process; each device of the mesh has a copy."""
    mesh = getattr(model, "mesh", None)
    if mesh is None:
        return
    is_alone = process_of(mesh)[1] == 1
    for variable in variables:
        value = np.asarray(variable.value)
        if not is_alone:
            value = np.asarray(multihost_utils.broadcast_one_to_all(value))
        whole: list[tuple[str, ...]] = [()] * value.ndim
        variable.assign(divide(mesh, whole, value.shape, value.dtype.name, value.__getitem__))


def process_of(mesh: Any) -> tuple[int, int]:
    """Returns the number of this process among those of a mesh, and how many there are."""
    processes, own = _processes(mesh), jax.process_index()
    if own not in processes:
        raise MeshError(_elsewhere(), "Call from_preset in the processes whose devices the mesh has")
    return processes.index(own), len(processes)


def exchange(mesh: Any, message: bytes, seconds: float) -> list[bytes]:
    """Sends a message through the store of JAX's coordination service; it needs no computation on the devices."""
    number, count = process_of(mesh)
    if count == 1:
        return [message]
    store, name = _store(), "vertebra/" + "-".join(map(str, _processes(mesh)))
    turn = next(_rounds[name])
    store.key_value_set_bytes(f"{name}/{turn}/{number}", message)
    ends = time.monotonic() + seconds
    received = []
    for other in range(count):
        left = max(1, int(1000 * (ends - time.monotonic())))
        received.append(_received(store, f"{name}/{turn}/{other}", left, other, seconds))
    if turn:  # everyone has sent this turn's message, and so has read the last turn's
        store.key_value_delete(f"{name}/{turn - 1}/{number}")
    return received


def _received(store: Any, key: str, milliseconds: int, process: int, seconds: float) -> bytes:
    try:
        return bytes(store.blocking_key_value_get_bytes(key, milliseconds))
    except jax.errors.JaxRuntimeError as error:  # the time is over, or the service has ended
        raise TimeoutError(f"process {process} of the mesh sent no message within {seconds:g} s") from error


def _store() -> Any:
    """Returns the client of the service that `jax.distributed.initialize` started: JAX 0.10 has no public way to it."""
    from jax._src import distributed

    return distributed.global_state.client


def _processes(mesh: Any) -> list[int]:
    return sorted({device.process_index for device in mesh_of(mesh).devices.flat})


def _bounds(index: Index, shape: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Returns the first and the next position of each axis of an index."""
    whole = (*index, *[slice(None)] * (len(shape) - len(index)))
    return tuple(ends.indices(size)[:2] for ends, size in zip(whole, shape, strict=True))


def _elsewhere() -> str:
    return f"none of its devices is of this process (number {jax.process_index()})"
