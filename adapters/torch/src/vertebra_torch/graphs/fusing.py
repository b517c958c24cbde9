"""Rewrites a traced graph: fewer calls, fewer passes over memory, and the fastest kernels."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vertebra_torch.graphs.integers import rewrite_integer_products
from vertebra_torch.graphs.merging import merge
from vertebra_torch.graphs.products import allow_parts, fuse_products
from vertebra_torch.graphs.reusing import reuse
from vertebra_torch.graphs.viewing import join_views

aten = torch.ops.aten
_ATTENTION = aten._scaled_dot_product_flash_attention_for_cpu.default


@dataclass(frozen=True, slots=True)
class FusedGraph:
    """A graph that takes packed weights, or None for each, after its other arguments."""

    call: Callable[..., Any]
    weights: Sequence[tuple[torch.Tensor, ...]]
    """The weights that one packed copy may hold together, each of shape (inputs, outputs)."""


def fuse(module: Any) -> FusedGraph:
    """Returns the fused form of a traced module, which stays as it is."""
    fused = copy.copy(module)  # shares the tensors
    fused.graph = copy.deepcopy(module.graph)
    _read_sizes_once(fused.graph)
    merge(fused)
    _remove_copies(fused.graph)
    integers = rewrite_integer_products(fused.graph)
    products = fuse_products(fused)
    reuse(fused.graph, products.singles | products.parts | integers, products.parts)
    allow_parts(fused.graph, products)
    join_views(fused.graph)
    fused.graph.eliminate_dead_code()
    fused.recompile()
    for node in fused.graph.nodes:
        if node.op == "get_attr":  # read at each call: a module looks for its parameters in Python
            fused.__dict__[node.target] = getattr(fused, node.target)
    # Not __call__, which the tracer replaces while another thread traces.
    return FusedGraph(fused.forward, products.weights)


def _read_sizes_once(graph: Any) -> None:
    """Reads each size from one tensor, so that other tensors are needed for their values only."""
    first: dict[str, Any] = {}
    for node in list(graph.nodes):
        if node.target is aten.sym_size.int:
            known = first.setdefault(str(node.meta["val"]), node)
            if known is not node:
                node.replace_all_uses_with(known)
                graph.erase_node(node)


def _remove_copies(graph: Any) -> None:
    """Removes copies that only put values in order: kernels of attention read them in any; others may be in order."""
    for node in list(graph.nodes):
        if node.target is not aten.clone.default or node.kwargs.get("memory_format") is not torch.contiguous_format:
            continue
        if all(user.target is _ATTENTION for user in node.users):
            node.replace_all_uses_with(node.args[0])
        else:
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.call_method("contiguous", (node.args[0],)))
        graph.erase_node(node)
