"""Weights in the layout of oneDNN's matrix product, where this is faster on this machine."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

_ROWS = 512
"""The number of rows for which weights are laid out, and the choice of the faster product is made."""
_REPETITIONS = 5
_MOST = 4096
"""The largest size of a matrix that is measured; larger ones are treated as it."""


def linear(rows: Any, packed: Any, bias: Any, activation: str, scalars: list[float], algorithm: str) -> Any:
    """Returns the product of rows with a packed weight, plus a bias or None, after an activation or `"none"`."""
    return torch.ops.mkldnn._linear_pointwise(rows, packed, bias, activation, scalars, algorithm)


def linear_sum(rows: Any, residual: Any, packed: Any, bias: Any, operation: str) -> Any:
    """Returns the product of rows with a packed weight, plus a bias or None, plus a residual of the same shape."""
    return torch.ops.mkldnn._linear_pointwise.binary(rows, residual, packed, bias, operation)


class PackedWeights:
    """Packed copies of weights, each made when it is first needed."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # with the weight, so that its id stays its own
        self._lock = threading.Lock()

    def packed(self, weights: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Returns the packed copies of weights."""
        with self._lock:
            for weight in weights:
                if id(weight) not in self._known:
                    self._known[id(weight)] = weight, pack(weight)
            return [self._known[id(weight)][1] for weight in weights]


def pack(weight: torch.Tensor) -> torch.Tensor:
    """Returns a copy of a weight of shape (inputs, outputs) in oneDNN's layout."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().t().contiguous(), _ROWS)


def is_faster(weight: torch.Tensor) -> bool:
    """Says whether products with a packed copy of a weight are faster on this machine, and so worth the memory."""
    if weight.ndim != 2 or weight.device.type != "cpu" or weight.numel() == 0 or not _is_supported(weight.dtype):
        return False
    inputs, outputs = (min(size, _MOST) for size in weight.shape)
    return _is_measured_faster(inputs, outputs, weight.dtype)


def _is_supported(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype is torch.float32


@functools.cache
def _is_measured_faster(inputs: int, outputs: int, dtype: torch.dtype) -> bool:
    """The measurement, once in a process for each shape: on some processors both are equally fast, on others not."""
    rows, bias = torch.ones(_ROWS, inputs, dtype=dtype), torch.ones(outputs, dtype=dtype)
    weight = torch.ones(inputs, outputs, dtype=dtype)
    packed = pack(weight)
    own, of_packed = _least_seconds(
        lambda: torch.add(torch.matmul(rows, weight), bias), lambda: linear(rows, packed, bias, "none", [], "")
    )
    return of_packed < own


def _least_seconds(*functions: Callable[[], Any]) -> list[float]:
    """Returns the shortest time of each function, after one call to warm up; calls alternate, as other load varies."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(1 + _REPETITIONS):
        for function, seconds in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
    return [min(seconds[1:]) for seconds in times]
