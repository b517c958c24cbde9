"""The approximation of the GELU by tanh, which is also x times a sigmoid: torch's sigmoid takes half as long."""

from __future__ import annotations

import functools
import math

import torch

_FACTOR = math.sqrt(8 / math.pi)
_CUBIC = 0.044715 * _FACTOR
_PART = 2**16
"""Number of elements that are computed at once, so that temporary values stay in the processor's cache."""


def approximate_(x: torch.Tensor) -> torch.Tensor:
    """Returns the approximate GELU of floats of shape `(rows, width)`, in their memory."""
    if x.dtype is not torch.float32 or x.device.type != "cpu" or torch.are_deterministic_algorithms_enabled():
        return torch.ops.aten.gelu_(x, approximate="tanh")
    for part in x.split(max(1, _PART // max(1, x.shape[-1]))):
        part.mul_(torch.addcmul(_factor(), part, part, value=_CUBIC).mul_(part).sigmoid_())
    return x


@functools.cache
def _factor() -> torch.Tensor:
    return torch.tensor(_FACTOR)
