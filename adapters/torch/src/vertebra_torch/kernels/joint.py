"""Products of the same rows with several weights, such as queries, keys and values.

With few rows, one product with a packed copy of all these weights is faster than several, with many it may not be. So
this is measured against the products one by one, from the weights as they are: no weight of a graph has two copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from vertebra_torch.kernels import choices, dense, measuring
from vertebra_torch.kernels.packing import PackedWeight

_SEPARATE = "separate"


def products(
    rows: Any,
    weights: Sequence[Any],
    packed: PackedWeight | None,
    biases: Sequence[Any],
    activations: Sequence[tuple[str, str]],
) -> Sequence[Any]:
    """Returns the products of rows with weights, each plus a bias and after an activation.

    They may be parts of one tensor.

    Args:
        rows: Floats of shape `(rows, inputs)`.
        weights: For each product floats of shape `(inputs, outputs)`, of the same dtype.
        packed: The packed copy of all weights, which is made if it is chosen, or None if they may change.
        biases: For each product floats of shape `(outputs,)`, or None for all.
        activations: For each product oneDNN's name of an activation and of its algorithm, as in `dense.product`.
    """
    arguments = (rows, weights, packed, biases, activations)
    if packed is None or torch.are_deterministic_algorithms_enabled():
        return _separate(*arguments)
    call = (
        "joint",
        measuring.bucket(rows),
        *((weight.shape, weight.stride()) for weight in weights),
        *activations,
        weights[0].dtype,
        weights[0].device,
        biases[0] is None,
        torch.get_num_threads(),
    )
    return _FORMS[choices.of_call(call, lambda: _chosen(arguments))](*arguments)


def _chosen(arguments: tuple[Any, ...]) -> str:
    rows, weights, packed, biases, activations = arguments
    names = [_SEPARATE, *(name for name in dense.usable(weights[0], packed) if name in dense.COPIES)]
    if len(names) == 1 or dense.is_unmeasured(rows):
        return _SEPARATE
    members = zip(weights, activations, strict=True)
    key = (
        measuring.bucket(rows),
        *((tuple(weight.shape), weight.stride(), activation) for weight, (activation, _) in members),
        str(weights[0].dtype).removeprefix("torch."),
        biases[0] is not None,
        torch.get_num_threads(),
    )
    return dense.choose(
        key, names, packed, lambda: measuring.seconds({name: _FORMS[name] for name in names}, arguments)
    )


def _separate(
    rows: Any, weights: Sequence[Any], _: Any, biases: Sequence[Any], activations: Sequence[tuple[str, str]]
) -> list[Any]:
    return [
        dense.product(rows, weight, None, bias, None, *activation)
        for weight, bias, activation in zip(weights, biases, activations, strict=True)
    ]


def _together(kernel: str) -> Callable[..., Sequence[Any]]:
    def compute(
        rows: Any,
        weights: Sequence[Any],
        packed: PackedWeight,
        biases: Sequence[Any],
        activations: Sequence[tuple[str, str]],
    ) -> Sequence[Any]:
        bias = None if biases[0] is None else torch.cat(tuple(biases))
        joint = dense.KERNELS[kernel](rows, weights[0], packed, bias, None, "none", "")
        parts = joint.split([weight.shape[1] for weight in weights], 1)
        return [dense.activate(part, *activation) for part, activation in zip(parts, activations, strict=True)]

    return compute


_FORMS = {_SEPARATE: _separate} | {kernel: _together(kernel) for kernel in dense.COPIES}
