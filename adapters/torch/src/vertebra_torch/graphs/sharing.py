"""Says which nodes of a traced graph share memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

aten = torch.ops.aten
Kernel = type(aten.add.Tensor)
"""The type of torch's kernels, which declare their arguments and results."""
_HIDDEN = (
    aten._unsafe_view.default,
    aten.unsafe_split.Tensor,
    aten.unsafe_split_with_sizes.default,
    aten.lift.default,
    aten.native_dropout.default,
)
"""Calls that may return their input, or views of it, which torch does not declare."""
_NUMBERS = (int, float, torch.SymInt, torch.SymFloat, torch.SymBool)
_NONE: frozenset[Any] = frozenset()


def owners(graph: Any, fresh: frozenset[Any] = _NONE) -> dict[Any, frozenset[Any]]:
    """Returns for each node the nodes whose memory its tensors may lie in, itself for a node with memory of its own.

    Args:
        graph: The graph.
        fresh: Nodes that are known to have memory of their own, apart from those that torch declares.
    """
    found: dict[Any, frozenset[Any]] = {}
    for node in graph.nodes:
        if isinstance(node.meta.get("val"), _NUMBERS):
            found[node] = _NONE
        elif node in fresh or node.op in ("placeholder", "get_attr") or _is_declared_fresh(node):
            found[node] = frozenset([node])
        else:
            found[node] = frozenset().union(*(found[used] for used in _shared_by(node)))
    return found


def _shared_by(node: Any) -> list[Any]:
    """Returns the nodes whose memory a node may share: those that torch declares, or all that it uses."""
    if not isinstance(node.target, Kernel) or node.target in _HIDDEN:
        return list(node.all_input_nodes)
    return _arguments(node, lambda argument: argument.alias_info is not None)


def kept(graph: Any, owners: Mapping[Any, frozenset[Any]]) -> frozenset[Any]:
    """Returns the nodes whose memory is in the outputs, or which a call may write to, or for which that is unknown."""
    nodes = {used for node in graph.nodes for used in _written_by(node)}
    return frozenset().union(*(owners[node] for node in nodes.union(graph.output_node().all_input_nodes)))


def _is_declared_fresh(node: Any) -> bool:
    if not isinstance(node.target, Kernel) or node.target in _HIDDEN:
        return False
    return all(returned.alias_info is None for returned in node.target._schema.returns)


def _written_by(node: Any) -> list[Any]:
    if node.op != "call_function" or is_of_numbers(node):
        return []
    if not isinstance(node.target, Kernel):
        return list(node.all_input_nodes)
    return _arguments(node, lambda argument: argument.alias_info is not None and argument.alias_info.is_write)


def _arguments(node: Any, is_meant: Callable[[Any], bool]) -> list[Any]:
    """Returns the nodes in those arguments of a kernel's call of which a function of the declaration says so."""
    taken = node.target._schema.arguments
    values = [*node.args, *(node.kwargs.get(argument.name) for argument in taken[len(node.args) :])]
    found: list[Any] = []
    for argument, value in zip(taken, values, strict=True):
        if is_meant(argument):
            torch.fx.map_arg(value, found.append)
    return found


def is_of_numbers(node: Any) -> bool:
    """Says whether a node computes with numbers, or takes an element out of a tuple."""
    return getattr(node.target, "__module__", None) in ("_operator", "math")
