"""Dropout that draws four random numbers at a time."""

from __future__ import annotations

from typing import Any

import keras
import torch

_STEPS = 2**16
"""Number of values of 16 bits, which decide about one element; a draw has 64 bits."""


def drop(inputs: Any, rate: float, generator: Any) -> Any:
    """Applies dropout; on the CPU, where PyTorch draws numbers one by one, with a quarter of the draws.

    The numbers come from PyTorch's own generator, as in `torch.nn.functional.dropout`.
    """
    if inputs.device.type != "cpu":
        return keras.random.dropout(inputs, rate, seed=generator)
    keep, scale = kept(inputs, rate)
    return (inputs * keep).mul_(scale)


def kept(inputs: torch.Tensor, rate: float, generator: torch.Generator | None = None) -> tuple[torch.Tensor, float]:
    """Returns which inputs are kept, and the factor of the others.

    Args:
        inputs: The inputs, on the device of the generator.
        rate: The share of the inputs to drop.
        generator: The generator of the numbers, or None for PyTorch's own.
    """
    dropped = min(round(rate * _STEPS), _STEPS - 1)
    count = inputs.numel()
    draws = torch.empty(-(-count // 4), dtype=torch.int64, device=inputs.device).random_(
        -(2**63), None, generator=generator
    )
    keep = draws.view(torch.int16)[:count].view(inputs.shape) >= dropped - _STEPS // 2
    return keep, _STEPS / (_STEPS - dropped)
