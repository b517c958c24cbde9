"""The processes of a mesh: their numbers, and short messages between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh

from vertebra_torch.meshes.parts import require_mesh

_sent: dict[tuple[int, ...], int] = defaultdict(int)
"""The number of messages that this process has sent to the processes of each mesh."""
_connection: dict[str, Any] = {}
"""The store of the default process group, and our own connection to it."""


def process_of(mesh: Any) -> tuple[int, int]:
    """Returns this process's number among those of a mesh, and how many there are."""
    mesh = require_mesh(mesh)
    return _ranks(mesh).index(torch.distributed.get_rank()), mesh.size()


def exchange(mesh: Any, message: bytes, seconds: float) -> list[bytes]:
    """Sends a message to all processes of a mesh, and returns everyone's, in the order of their numbers.

    The messages go through the store with which the processes found each other, so that a process that is gone cannot
    make the others wait for longer than the time, as it would in a collective operation.

    Raises:
        TimeoutError: a process did not send its message within the time, or the store is gone.
    """
    mesh = require_mesh(mesh)
    ranks = _ranks(mesh)
    own, store, number = ranks.index(torch.distributed.get_rank()), _store(), _sent[ranks]
    _sent[ranks] += 1

    def key(number: int, process: int) -> str:
        return f"vertebra/{'.'.join(map(str, ranks))}/{number}/{process}"

    others = [process for process in range(len(ranks)) if process != own]
    try:
        store.set(key(number, own), message)
        store.wait([key(number, process) for process in others], timedelta(seconds=seconds))
        messages = {own: message} | {process: store.get(key(number, process)) for process in others}
        if number > 1:  # all have sent the message after it, and so have read it
            store.delete_key(key(number - 2, own))
    except (RuntimeError, ValueError) as error:  # of torch: no answer in time, or a connection that is gone
        silent = [ranks[process] for process in others if not _has(store, key(number, process))]
        problem = f"no answer from rank {', '.join(map(str, silent))}" if silent else "the store of the ranks is gone"
        raise TimeoutError(f"{problem} within {seconds:g} s") from error
    return [messages[process] for process in range(len(ranks))]


def _has(store: Any, key: str) -> bool:
    try:
        return bool(store.check([key]))
    except RuntimeError:
        return False


def equalize(mesh: DeviceMesh, variables: Sequence[Any]) -> None:
    """Gives variables, which each process has as a whole, the values that they have in a mesh's first process."""
    with torch.no_grad():
        for variable in variables:
            first = variable.value.detach().contiguous().clone()
            send_first(mesh, first)
            variable.assign(first)


def send_first(mesh: DeviceMesh, tensor: torch.Tensor) -> None:
    """Overwrites a tensor with its values in a mesh's first process."""
    for number in range(mesh.ndim):
        group = mesh.get_group(number)
        torch.distributed.broadcast(tensor, torch.distributed.get_global_rank(group, 0), group=group)


def _ranks(mesh: DeviceMesh) -> tuple[int, ...]:
    return tuple(mesh.mesh.flatten().tolist())


def _store() -> Any:
    """Returns a connection of our own to the store of the default process group.

    A thread that waits for a message must not keep others from the store. Public PyTorch has no function for it.
    """
    from torch.distributed.distributed_c10d import _get_default_store

    store = _get_default_store()
    if _connection.get("store") is not store:
        _connection.update(store=store, own=store.clone())
    return _connection["own"]
