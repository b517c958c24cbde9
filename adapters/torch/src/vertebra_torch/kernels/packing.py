"""Copies of weights in the layout of oneDNN's matrix product."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch

_ROWS = 512
"""The number of rows for which weights are laid out; the layout is good for fewer and for more."""


class PackedWeight:
    """The packed copy of a weight, or of several as one, made when it is first needed.

    Args:
        weights: The weights, each of shape (inputs, outputs).
    """

    def __init__(self, *weights: torch.Tensor) -> None:
        self._weights = weights  # so that their memory stays their own, too
        self._tensor: torch.Tensor | None = None
        self._lock = threading.Lock()

    def tensor(self) -> torch.Tensor:
        """Returns the copy; it keeps the values of the first call."""
        with self._lock:
            if self._tensor is None:
                self._tensor = pack(*self._weights)
            return self._tensor

    def free(self) -> None:
        """Frees the copy until it is needed again."""
        with self._lock:
            self._tensor = None


class PackedWeights:
    """The packed copies of the weights of a model."""

    def __init__(self) -> None:
        self._known: dict[object, PackedWeight] = {}
        self._lock = threading.Lock()

    def packed(self, groups: Sequence[tuple[torch.Tensor, ...]]) -> list[PackedWeight]:
        """Returns the packed copies of groups of weights."""
        with self._lock:
            for group in groups:
                if (key := identity(group)) not in self._known:
                    self._known[key] = PackedWeight(*group)
            return [self._known[identity(group)] for group in groups]


def identity(weights: Sequence[torch.Tensor]) -> tuple[object, ...]:
    """Returns a key of weights: views of the same numbers in the same layout have the same key."""
    return tuple((weight.data_ptr(), weight.shape, weight.stride(), weight.dtype) for weight in weights)


def pack(*weights: torch.Tensor) -> torch.Tensor:
    """Returns a copy of weights of shape (inputs, outputs) in oneDNN's layout, in float32 if it has no kernel else.

    The outputs of several weights follow each other.
    """
    weight = weights[0] if len(weights) == 1 else torch.cat(weights, 1)
    if weight.dtype is not torch.bfloat16 or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        weight = weight.float()
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().t().contiguous(), _ROWS)
