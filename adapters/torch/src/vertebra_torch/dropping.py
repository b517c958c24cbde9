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
    dropped = min(round(rate * _STEPS), _STEPS - 1)
    count = inputs.numel()
    draws = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    keep = draws.view(torch.int16)[:count].view(inputs.shape) >= dropped - _STEPS // 2
    return (inputs * keep).mul_(_STEPS / (_STEPS - dropped))
