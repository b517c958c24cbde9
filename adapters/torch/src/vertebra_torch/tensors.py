"""Tensors that view the memory of arrays, and the slots of caches."""

from __future__ import annotations

import torch

from vertebra_torch.values.tensors import to_tensor as to_tensor


def write_slots(slots: torch.Tensor, start: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Writes to some slots of a cache, whose memory it returns; the arguments are those of `vertebra.Runtime`."""
    numbers = start + torch.arange(values.shape[2], device=values.device)
    return slots.index_copy_(2, numbers, values)
