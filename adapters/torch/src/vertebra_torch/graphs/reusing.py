"""Lets a traced graph write results into memory that it does not need any more, which costs less than new memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vertebra_torch.graphs import sharing

aten = torch.ops.aten
Owners = Mapping[Any, frozenset[Any]]
_IN_PLACE = {
    aten.mul.Tensor: aten.mul_.Tensor,
    aten.add.Tensor: aten.add_.Tensor,
    aten.sub.Tensor: aten.sub_.Tensor,
    aten.div.Tensor: aten.div_.Tensor,
    aten.gelu.default: aten.gelu_.default,
    aten.silu.default: aten.silu_.default,
    aten.relu.default: aten.relu_.default,
    aten.tanh.default: aten.tanh_.default,
    aten.rsqrt.default: aten.rsqrt_.default,
}
_SYMMETRIC = (aten.mul.Tensor, aten.add.Tensor)
_RESHAPES = (aten.view.default, aten._unsafe_view.default, aten.reshape.default, aten.unsqueeze.default)
"""What may lie between memory and the tensor that is written to: each element is there once, in the same order."""


def reuse(graph: Any, fresh: frozenset[Any], parts: frozenset[Any]) -> None:
    """Computes results in place that have the shape and dtype of an operand whose memory nothing else needs.

    Args:
        graph: The graph.
        fresh: Nodes that are known to have memory of their own, apart from those that torch declares.
        parts: Those of them that may be parts of larger tensors; outputs of the graph are not written to these.
    """
    owners = sharing.owners(graph, fresh)
    order = {node: number for number, node in enumerate(graph.nodes)}
    last_uses = {owner: order[node] for node in graph.nodes for used in node.all_input_nodes for owner in owners[used]}
    for node in graph.nodes:
        for operand, others in _operands(node):
            owner = _owner(operand, owners)
            is_last = owner is not None and last_uses[owner] == order[node]
            is_part_of_output = owner in parts and last_uses.get(node) == order[node.graph.output_node()]
            if is_last and not is_part_of_output and _is_alike(operand, node) and _are_apart(operand, others, owners):
                node.target, node.args = _IN_PLACE[node.target], (operand, *others)
                break


def _operands(node: Any) -> list[tuple[Any, Sequence[Any]]]:
    """Returns each operand that a call may write its result to, with the others."""
    if node.target not in _IN_PLACE:
        return []
    found = [(node.args[0], node.args[1:])]
    if node.target in _SYMMETRIC and not node.kwargs:
        found.append((node.args[1], node.args[:1]))
    return [(operand, others) for operand, others in found if isinstance(operand, torch.fx.Node)]


def _owner(operand: Any, owners: Owners) -> Any:
    """Returns the node with the memory of which an operand is the whole, in its order; None if there is none."""
    source = operand
    while source.target in _RESHAPES:
        source = source.args[0]
    is_own = source.op == "call_function" and owners[operand] == {source}
    return source if is_own else None


def _is_alike(operand: Any, node: Any) -> bool:
    """Says whether the result has the shape, dtype and layout of an operand; by symbols, which assumes no values."""
    first, second = (taken.meta.get("val") for taken in (operand, node))
    if not isinstance(first, torch.Tensor) or not isinstance(second, torch.Tensor):
        return False
    layouts = [str((tensor.shape, tensor.stride(), tensor.dtype, tensor.device)) for tensor in (first, second)]
    return layouts[0] == layouts[1]


def _are_apart(operand: Any, others: Sequence[Any], owners: Owners) -> bool:
    """Says whether no other operand lies in the memory of one, except itself."""
    taken = [other for other in others if isinstance(other, torch.fx.Node) and other is not operand]
    return not any(owners[other] & owners[operand] for other in taken)
