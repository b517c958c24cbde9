"""Random numbers of dropout, four at a time."""

from __future__ import annotations

import torch

_STEPS = 2**16
"""Number of values of 16 bits, which decide about one element; a draw has 64 bits."""


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
