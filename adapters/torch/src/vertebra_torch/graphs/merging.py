"""Merges nodes of a traced graph that compute the same, such as a mask that each layer computes again."""

from __future__ import annotations

from typing import Any

import torch

from vertebra_torch.graphs import sharing

aten = torch.ops.aten


def merge(module: Any) -> None:
    """Merges equal nodes of a traced module.

    Nodes stay apart whose memory is written to, which read such memory, or which are in the outputs: callers may
    write to one of them.
    """
    _share_tensors(module)
    graph = module.graph
    owners = sharing.owners(graph)
    own = sharing.kept(graph, owners)
    first: dict[str, Any] = {}
    for node in list(graph.nodes):
        if not _is_pure(node) or owners[node] & own or any(owners[used] & own for used in node.all_input_nodes):
            continue
        known = first.setdefault(_computation(module, node), node)
        if known is not node:
            node.replace_all_uses_with(known)
            graph.erase_node(node)


def _share_tensors(module: Any) -> None:
    """Reads each tensor of the module once, before all calls."""
    graph, known = module.graph, {}
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        tensor = getattr(module, node.target)
        if id(tensor) in known:
            node.replace_all_uses_with(known[id(tensor)])
            graph.erase_node(node)
        else:
            last.append(node)
            last = known[id(tensor)] = node


def _is_pure(node: Any) -> bool:
    if node.op != "call_function":
        return False
    if isinstance(node.target, sharing.Kernel):
        return torch.Tag.nondeterministic_seeded not in node.target.tags and not node.target._schema.is_mutable
    return sharing.is_of_numbers(node)


def _computation(module: Any, node: Any) -> str:
    """Returns a text that is equal for equal computations: 1, 1.0 and True differ in it."""
    if node.target is aten.lift_fresh_copy.default and node.args[0].op == "get_attr":
        tensor = getattr(module, node.args[0].target)
        if tensor.numel() == 1:  # a number of the layer's code
            return repr((node.target, tensor.dtype, tensor.device, tensor.shape, tensor.item()))
    return repr((node.target, node.args, node.kwargs))
