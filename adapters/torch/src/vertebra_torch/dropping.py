"""Dropout that draws four random numbers at a time."""

from __future__ import annotations

from typing import Any

import keras

from vertebra_torch.values.draws import kept


def drop(inputs: Any, rate: float, generator: Any) -> Any:
    """Applies dropout; on the CPU, where PyTorch draws numbers one by one, with a quarter of the draws.

    The numbers come from PyTorch's own generator, as in `torch.nn.functional.dropout`.
    """
    if inputs.device.type != "cpu":
        return keras.random.dropout(inputs, rate, seed=generator)
    keep, scale = kept(inputs, rate)
    return (inputs * keep).mul_(scale)
