"""Products of rows with a weight, by the kernel that is the fastest on this machine.

On some processors torch's own kernel is the fastest for many rows, and oneDNN's for few, from the weight as it is or
from a packed copy of it; on others oneDNN's always is. So each is measured, with the arguments of the first call of a
kind, and the choice is kept, for later processes, too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from vertebra_torch import choices
from vertebra_torch.packing import PackedWeight

aten = torch.ops.aten
OWN, PLAIN, PACKED = "own", "plain", "packed"
"""torch's own kernel, and oneDNN's from a weight as it is and from a packed copy."""
_MOST_ROWS = 1024
"""From so many rows on, kernels are as fast as for more."""
_REPETITIONS, _MOST_SECONDS = 5, 0.2
"""How often each kernel is measured, unless all together take longer."""
_GAIN = {OWN: 1.0, PLAIN: 0.97, PACKED: 0.9}
"""The share of the time of the kernels before that one must not exceed: a packed copy costs memory."""
_measuring = threading.Lock()


def product(
    rows: Any, weight: Any, packed: PackedWeight | None, bias: Any, residual: Any, activation: str, algorithm: str
) -> Any:
    """Returns the product of rows with a weight, plus a bias, after an activation or plus a residual.

    Args:
        rows: Floats of shape `(rows, inputs)`.
        weight: Floats of shape `(inputs, outputs)`.
        packed: The packed copy of the weight, which is made if it is chosen, or None if the weight may change.
        bias: Floats of shape `(outputs,)`, or None.
        residual: Floats of shape `(rows, outputs)`, or None.
        activation: oneDNN's name of an activation, or `"none"`; `"none"` with a residual.
        algorithm: oneDNN's name of the algorithm of the activation, or an empty text.
    """
    arguments = (rows, weight, packed, bias, residual, activation, algorithm)
    return _KERNELS[_chosen(arguments)](*arguments)


def _chosen(arguments: tuple[Any, ...]) -> str:
    """Returns the name of the kernel for a call."""
    rows, weight, packed, bias, residual, activation, _ = arguments
    if not rows.numel() or not _is_supported(weight) or torch.are_deterministic_algorithms_enabled():
        return OWN
    key = (
        min(rows.shape[0].bit_length(), _MOST_ROWS.bit_length()),
        *weight.shape,
        weight.is_contiguous(),
        str(weight.dtype).removeprefix("torch."),
        bias is not None,
        residual is not None,
        activation,
        packed is not None,
        torch.get_num_threads(),
    )
    known = choices.known(key)
    if known in _KERNELS and (known != PACKED or packed is not None):
        return known
    with _measuring:
        chosen = _fastest(_seconds(arguments))
    choices.note(key, chosen)
    return chosen


def _is_supported(weight: torch.Tensor) -> bool:
    """Says whether oneDNN has a kernel for products with a weight."""
    if weight.device.type != "cpu" or not weight.numel() or not torch.backends.mkldnn.is_available():
        return False
    if weight.dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype is torch.float32


def _seconds(arguments: tuple[Any, ...]) -> dict[str, float]:
    """Returns the shortest time of each kernel, after one call to warm up; calls alternate, as other load varies."""
    packed = arguments[2]
    seconds: dict[str, float] = {}
    end = time.perf_counter() + _MOST_SECONDS
    for repetition in range(1 + _REPETITIONS):
        for name, kernel in _KERNELS.items():
            if name == PACKED and packed is None:
                continue
            start = time.perf_counter()
            kernel(*arguments)
            if repetition:
                taken = time.perf_counter() - start
                seconds[name] = min(taken, seconds.get(name, taken))
        if repetition and time.perf_counter() > end:
            break
    return seconds


def _fastest(seconds: Mapping[str, float]) -> str:
    """Returns the name of the fastest kernel, or of one that costs less memory and is hardly slower."""
    chosen = OWN
    for name in (PLAIN, PACKED):
        if seconds.get(name, float("inf")) < _GAIN[name] * seconds[chosen]:
            chosen = name
    return chosen


def _own(rows: Any, weight: Any, _: Any, bias: Any, residual: Any, activation: str, algorithm: str) -> Any:
    result = torch.mm(rows, weight) if bias is None else torch.addmm(bias, rows, weight)
    if residual is not None:
        return result.add_(residual)
    if activation == "gelu":
        return aten.gelu_(result, approximate=algorithm)
    return result.relu_() if activation == "relu" else result


def _plain(rows: Any, weight: Any, _: Any, bias: Any, residual: Any, activation: str, algorithm: str) -> Any:
    return _linear(rows, weight.t(), bias, residual, activation, algorithm)


def _packed(
    rows: Any, weight: Any, packed: PackedWeight, bias: Any, residual: Any, activation: str, algorithm: str
) -> Any:
    return _linear(rows, packed.tensor(weight), bias, residual, activation, algorithm)


def _linear(rows: Any, weight: Any, bias: Any, residual: Any, activation: str, algorithm: str) -> Any:
    if residual is not None:
        return torch.ops.mkldnn._linear_pointwise.binary(rows, residual, weight, bias, "add")
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, activation, [], algorithm)


_KERNELS: dict[str, Callable[..., Any]] = {OWN: _own, PLAIN: _plain, PACKED: _packed}
