"""Rewrites a traced graph: int8 products, as quantised layers compute them, become calls of their kernels."""

from __future__ import annotations

from typing import Any

import torch

from vertebra_torch.graphs.nodes import VIEWS, only_user
from vertebra_torch.kernels import int8

aten = torch.ops.aten
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def rewrite_integer_products(graph: Any) -> frozenset[Any]:
    """Replaces the products of int32 copies of int8 tensors by calls of their kernels; returns the nodes of these."""
    calls = []
    for node in list(graph.nodes):
        if node.target is aten.mm.default:
            rows, weight, result = _rows(node.args[0]), _int8(node.args[1]), _converted(node)
            if rows is not None and weight is not None and result is not None:
                calls.append(_replace(graph, node, rows, weight, result))
    return frozenset(calls)


def _replace(graph: Any, node: Any, rows: Any, weight: Any, result: Any) -> Any:
    with graph.inserting_before(node):
        if node.args[0].target in VIEWS:
            rows = graph.call_function(aten.reshape.default, (rows, node.args[0].args[1]))
        called = graph.call_function(int8.product, (rows, weight, result.meta["val"].dtype))
        called.meta["val"] = node.meta["val"].to(result.meta["val"].dtype)
    result.replace_all_uses_with(result.args[0])
    node.replace_all_uses_with(called)
    return called


def _rows(node: Any) -> Any:
    """Returns the int8 tensor that the rows of a product are an int32 copy of, in another shape, or None."""
    return _int8(node.args[0] if node.target in VIEWS else node)


def _int8(node: Any) -> Any:
    """Returns the int8 tensor that a node is an int32 copy of, or None."""
    if node.target is not aten._to_copy.default or node.kwargs != {"dtype": torch.int32}:
        return None
    return node.args[0] if node.args[0].meta["val"].dtype is torch.int8 else None


def _converted(node: Any) -> Any:
    """Returns the node that makes floats of a product, if nothing else uses it, in another shape, or None."""
    following = only_user(node)
    if following is not None and following.target in VIEWS:
        following = only_user(following)
    if following is None or following.target is not aten._to_copy.default or following.kwargs.keys() != {"dtype"}:
        return None
    return following if following.kwargs["dtype"] in _FLOATS else None
