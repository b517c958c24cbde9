"""Dropout of DTensors: other numbers for other parts, and the same where processes have the same part."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from vertebra_torch.meshes.operations import joined, without_parts
from vertebra_torch.meshes.processes import send_first
from vertebra_torch.values.draws import kept

_thread = threading.local()


class _Draws:
    """The seeds of one call, which all processes of the mesh derive from a number of the first one's generator."""

    def __init__(self, mesh: DeviceMesh) -> None:
        self._mesh, self._first, self._count = mesh, None, 0

    def seed(self, tensor: DTensor) -> int:
        """Returns the seed of the next dropout for this process's part of a tensor."""
        if self._first is None:
            first = torch.randint(2**62, (1,)).to(tensor.device)  # so that `torch.manual_seed` decides
            send_first(self._mesh, first)
            self._first = int(first)
        self._count += 1
        numbers = zip(self._mesh.get_coordinate() or (), tensor.placements, strict=True)
        part = [number if isinstance(split, Shard) else 0 for number, split in numbers]
        text = f"{self._first} {self._count} {part}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@contextlib.contextmanager
def drawing(mesh: DeviceMesh) -> Iterator[None]:
    """Lets dropout draw the numbers of one call on a mesh within a `with` block."""
    outer, _thread.draws = getattr(_thread, "draws", None), _Draws(mesh)
    try:
        yield
    finally:
        _thread.draws = outer


def drop_parts(inputs: Any, rate: float) -> DTensor:
    """Applies dropout to a DTensor in a call on a mesh."""
    inputs = without_parts(inputs)
    local = inputs.to_local()
    generator = torch.Generator(local.device).manual_seed(_thread.draws.seed(inputs))
    keep, scale = kept(local, rate, generator)
    return joined(local * (keep * scale), inputs.device_mesh, inputs.placements, inputs.shape)
