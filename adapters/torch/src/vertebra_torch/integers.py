"""Products of int8 rows with an int8 weight, as quantised layers compute them, by the fastest kernel.

Keras multiplies int32 copies of both on a CPU, for which torch has no fast kernel. Two others give the same sums:
`torch._int_mm`, which is fast on processors that multiply numbers of 8 bits, and the product of float32 copies, whose
sums are exact up to 2²⁴ and rounded from there on, as their conversion to floats would round them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from vertebra_torch import choices, measuring

aten = torch.ops.aten
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_VIEWS = (aten._unsafe_view.default, aten.view.default)
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


def rewrite_integer_products(graph: Any) -> frozenset[Any]:
    """Replaces the products of int32 copies of int8 tensors by calls of `product`; returns the nodes of these."""
    calls = []
    for node in list(graph.nodes):
        if node.target is aten.mm.default:
            rows, weight, result = _rows(node.args[0]), _int8(node.args[1]), _converted(node)
            if rows is not None and weight is not None and result is not None:
                calls.append(_replace(graph, node, rows, weight, result))
    return frozenset(calls)


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


# === The graph ===


def _replace(graph: Any, node: Any, rows: Any, weight: Any, result: Any) -> Any:
    with graph.inserting_before(node):
        if node.args[0].target in _VIEWS:
            rows = graph.call_function(aten.reshape.default, (rows, node.args[0].args[1]))
        called = graph.call_function(product, (rows, weight, result.meta["val"].dtype))
        called.meta["val"] = node.meta["val"].to(result.meta["val"].dtype)
    result.replace_all_uses_with(result.args[0])
    node.replace_all_uses_with(called)
    return called


def _rows(node: Any) -> Any:
    """Returns the int8 tensor that the rows of a product are an int32 copy of, in another shape, or None."""
    return _int8(node.args[0] if node.target in _VIEWS else node)


def _int8(node: Any) -> Any:
    """Returns the int8 tensor that a node is an int32 copy of, or None."""
    if node.target is not aten._to_copy.default or node.kwargs != {"dtype": torch.int32}:
        return None
    return node.args[0] if node.args[0].meta["val"].dtype is torch.int8 else None


def _converted(node: Any) -> Any:
    """Returns the node that makes floats of a product, if nothing else uses it, in another shape, or None."""
    following = _only_user(node)
    if following is not None and following.target in _VIEWS:
        following = _only_user(following)
    if following is None or following.target is not aten._to_copy.default or following.kwargs.keys() != {"dtype"}:
        return None
    return following if following.kwargs["dtype"] in _FLOATS else None


def _only_user(node: Any) -> Any:
    return next(iter(node.users)) if len(node.users) == 1 else None
