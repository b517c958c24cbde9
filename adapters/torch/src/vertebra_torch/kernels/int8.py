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
    key = (measuring.bucket(rows), *weight.shape, weight.stride(), "int8", torch.get_num_threads())
    return choices.chosen(key, _KERNELS, lambda: _fastest(rows, weight))


def _fastest(rows: torch.Tensor, weight: torch.Tensor) -> str:
    if rows.shape[0] <= measuring.FEW_ROWS:
        return measuring.fastest(measuring.seconds(_KERNELS, (rows, weight)), _GAIN)
    few = rows[: measuring.FEW_ROWS], weight
    return measuring.fastest(measuring.hopeful_seconds(_KERNELS, few, (rows, weight)), _GAIN)
