"""Copies of weights in the layout of oneDNN's matrix product."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch

_ROWS = 512
"""The number of rows for which weights are laid out; the layout is good for fewer and for more."""


class PackedWeight:
    """The packed copy of a weight, made when it is first needed."""

    def __init__(self) -> None:
        self._tensor: torch.Tensor | None = None
        self._lock = threading.Lock()

    def tensor(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns the copy of the weight; it keeps the values of the first call."""
        if self._tensor is None:
            with self._lock:
                if self._tensor is None:
                    self._tensor = pack(weight)
        return self._tensor


class PackedWeights:
    """The packed copies of the weights of a model."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[torch.Tensor, PackedWeight]] = {}  # with the weight, so that its id stays its own
        self._lock = threading.Lock()

    def packed(self, weights: Sequence[torch.Tensor]) -> list[PackedWeight]:
        """Returns the packed copies of weights."""
        with self._lock:
            return [self._known.setdefault(id(weight), (weight, PackedWeight()))[1] for weight in weights]


def pack(weight: torch.Tensor) -> torch.Tensor:
    """Returns a copy of a weight of shape (inputs, outputs) in oneDNN's layout, in float32 if it has no kernel else."""
    if weight.dtype is not torch.bfloat16 or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        weight = weight.float()
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().t().contiguous(), _ROWS)
