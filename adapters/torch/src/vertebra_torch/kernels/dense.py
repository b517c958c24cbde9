"""Products of rows with a weight, by the kernel that is the fastest on this machine.

On some processors torch's own kernel is the fastest for many rows, and oneDNN's for few, from the weight as it is or
from a packed copy of it; on others oneDNN's always is. Processors without instructions for floats of 16 bits compute
faster in float32. So each is measured, with the arguments of the first call of a kind, and the choice is kept, for
later processes, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from vertebra_torch.kernels import choices, gelu, measuring
from vertebra_torch.kernels.packing import PackedWeight

OWN, PLAIN, PACKED = "own", "plain", "packed"
"""torch's own kernel, and oneDNN's from a weight as it is and from a packed copy."""
WIDENED, WIDENED_PACKED = "widened", "widened packed"
"""torch's own kernel in float32, and oneDNN's from a packed copy in float32; the result is rounded once."""
COPIES = (PACKED, WIDENED_PACKED)
_GAIN = {OWN: 1.0, PLAIN: 0.97, WIDENED: 0.97, PACKED: 0.9, WIDENED_PACKED: 0.9}
"""The share of the time of the kernels before that one must not exceed: a packed copy costs memory."""


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
    if torch.are_deterministic_algorithms_enabled():
        return _own(*arguments)
    call = (
        "dense",
        measuring.bucket(rows),
        weight.shape,
        weight.stride(),
        weight.dtype,
        weight.device,
        packed is None,
        bias is None,
        residual is None,
        activation,
        torch.get_num_threads(),
    )
    return KERNELS[choices.of_call(call, lambda: _chosen(arguments))](*arguments)


def _chosen(arguments: tuple[Any, ...]) -> str:
    """Returns the name of the kernel for a call."""
    rows, weight, packed, bias, residual, activation, _ = arguments
    names = usable(weight, packed)
    if len(names) == 1 or is_unmeasured(rows):
        return OWN
    key = (
        measuring.bucket(rows),
        *weight.shape,
        weight.stride(),
        str(weight.dtype).removeprefix("torch."),
        bias is not None,
        residual is not None,
        activation,
        packed is not None,
        torch.get_num_threads(),
    )
    return choose(key, names, packed, lambda: _seconds(arguments, names))


def choose(
    key: tuple[object, ...],
    names: Sequence[str],
    packed: PackedWeight | None,
    measure: Callable[[], Mapping[str, float]],
) -> str:
    """Returns the name of the kernel for a kind of call, which is measured if no call of the kind was before.

    Args:
        key: The kind of call.
        names: Names of the kernels.
        packed: The copy that some of them use, which is freed if it was made to measure them only.
        measure: Returns the seconds that each takes.
    """

    def fastest() -> str:
        name = measuring.fastest(measure(), _GAIN)
        if packed is not None and name not in COPIES:
            packed.free()
        return name

    return choices.chosen(key, names, fastest)


def is_unmeasured(rows: torch.Tensor) -> bool:
    """Says whether nothing is measured for rows: there are none, or torch's own kernels are asked for."""
    return not rows.numel() or torch.are_deterministic_algorithms_enabled()


def usable(weight: torch.Tensor, packed: PackedWeight | None) -> tuple[str, ...]:
    """Returns the names of the kernels for products with a weight."""
    names: tuple[str, ...] = (OWN,)
    if weight.device.type == "cpu" and weight.numel() and _has_onednn():
        if weight.dtype is torch.float32 or (weight.dtype is torch.bfloat16 and _has_bfloat16()):
            # For columns of a wider weight, as in GPT-2, oneDNN takes a hundred times as long.
            is_dense = weight.is_contiguous() or weight.t().is_contiguous()
            names = (OWN, PLAIN, PACKED) if is_dense else (OWN, PACKED)
        elif weight.dtype in (torch.bfloat16, torch.float16):
            names = (OWN, WIDENED, WIDENED_PACKED)
    return names if packed is not None else tuple(name for name in names if name not in COPIES)


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _seconds(arguments: tuple[Any, ...], names: Sequence[str]) -> dict[str, float]:
    """Returns the shortest time of each kernel, without those that are hopeless."""
    rows, weight, packed, bias, residual, activation, algorithm = arguments
    among = {name: KERNELS[name] for name in names}
    if rows.shape[0] <= measuring.FEW_ROWS:
        return measuring.seconds(among, arguments)
    first, residuals = (None if tensor is None else tensor[: measuring.FEW_ROWS] for tensor in (rows, residual))
    return measuring.hopeful_seconds(among, (first, weight, packed, bias, residuals, activation, algorithm), arguments)


def _own(rows: Any, weight: Any, _: Any, bias: Any, residual: Any, activation: str, algorithm: str) -> Any:
    result = torch.mm(rows, weight) if bias is None else torch.addmm(bias, rows, weight)
    return activate(result, activation, algorithm) if residual is None else result.add_(residual)


def activate(result: Any, activation: str, algorithm: str) -> Any:
    """Returns a result after an activation, in its own memory."""
    if activation == "gelu":
        return gelu.approximate_(result) if algorithm == "tanh" else torch.ops.aten.gelu_(result)
    return result.relu_() if activation == "relu" else result


def _plain(rows: Any, weight: Any, _: Any, bias: Any, residual: Any, activation: str, algorithm: str) -> Any:
    return _linear(rows, weight.t(), bias, residual, activation, algorithm)


def _packed(rows: Any, _: Any, packed: PackedWeight, bias: Any, residual: Any, activation: str, algorithm: str) -> Any:
    return _linear(rows, packed.tensor(), bias, residual, activation, algorithm)


def _widened(rows: Any, weight: Any, _: Any, bias: Any, residual: Any, activation: str, algorithm: str) -> Any:
    bias, residual = (None if tensor is None else tensor.float() for tensor in (bias, residual))
    return _own(rows.float(), weight.float(), None, bias, residual, activation, algorithm).to(rows.dtype)


def _widened_packed(
    rows: Any, _: Any, packed: PackedWeight, bias: Any, residual: Any, activation: str, algorithm: str
) -> Any:
    bias, residual = (None if tensor is None else tensor.float() for tensor in (bias, residual))
    return _linear(rows.float(), packed.tensor(), bias, residual, activation, algorithm).to(rows.dtype)


def _linear(rows: Any, weight: Any, bias: Any, residual: Any, activation: str, algorithm: str) -> Any:
    if residual is not None:
        return torch.ops.mkldnn._linear_pointwise.binary(rows, residual, weight, bias, "add")
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, activation, [], algorithm)


KERNELS: dict[str, Callable[..., Any]] = {
    OWN: _own,
    PLAIN: _plain,
    PACKED: _packed,
    WIDENED: _widened,
    WIDENED_PACKED: _widened_packed,
}
