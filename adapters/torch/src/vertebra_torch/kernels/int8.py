"""Products of int8 rows with an int8 weight, as quantised layers compute them, by the fastest kernel.

Keras multiplies int32 copies of both on a CPU, for which torch has no fast kernel. Two others give the same sums:
`torch._int_mm`, which is fast on processors that multiply numbers of 8 bits, and the product of float32 copies, whose
sums are exact up to 2²⁴ and rounded from there on, as their conversion to floats would round them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from vertebra_torch.kernels import choices, measuring

_MOST_ROWS = 1024
"""From so many rows on, kernels are as fast as for more."""
_FEW_ROWS, _HOPELESS = 8, 4
"""A kernel that takes so many times as long as the fastest for few rows is not measured for more."""
OWN, INT8, WIDENED = "own", "int8", "widened"
_KERNELS: dict[str, Callable[[Any, Any], Any]] = {
    OWN: lambda rows, weight: torch.mm(rows.int(), weight.int()),
    INT8: torch._int_mm,
    WIDENED: lambda rows, weight: torch.mm(rows.float(), weight.float()),
}
_GAIN = {OWN: 1.0, INT8: 0.97, WIDENED: 0.97}


def product(rows: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Returns the product of rows with a weight.

    Args:
        rows: int8 of shape `(rows, inputs)`.
        weight: int8 of shape `(inputs, outputs)`.
        dtype: The dtype of the result, one of floats.
    """
    return _KERNELS[_chosen(rows, weight)](rows, weight).to(dtype)


def _chosen(rows: torch.Tensor, weight: torch.Tensor) -> str:
    if weight.device.type != "cpu" or not rows.numel() or not weight.numel():
        return OWN
    count = min(rows.shape[0].bit_length(), _MOST_ROWS.bit_length())
    key = (count, *weight.shape, weight.is_contiguous(), "int8", torch.get_num_threads())
    return choices.chosen(key, _KERNELS, lambda: _fastest(rows[: 2**count], weight))


def _fastest(rows: torch.Tensor, weight: torch.Tensor) -> str:
    """Measures the kernels for few rows, and for all those that are not hopeless: one may take 100 times as long."""
    shortest = measuring.seconds(_KERNELS, (rows[:_FEW_ROWS], weight), measuring.FEWEST)
    if rows.shape[0] > _FEW_ROWS:
        most = _HOPELESS * min(shortest.values())
        hopeful = {name: kernel for name, kernel in _KERNELS.items() if shortest[name] < most}
        shortest = measuring.seconds(hopeful, (rows, weight))
    return measuring.fastest(shortest, _GAIN)
