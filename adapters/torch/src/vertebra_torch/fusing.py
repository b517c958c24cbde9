"""Rewrites a traced graph: fewer passes over memory, and each product with a weight by the fastest kernel.

A product with a weight, its bias, and the activation or the residual sum that follows become one call.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vertebra_torch import kernels
from vertebra_torch.integers import rewrite_integer_products

aten = torch.ops.aten
_VIEWS = (aten._unsafe_view.default, aten.view.default)
_ATTENTION = aten._scaled_dot_product_flash_attention_for_cpu.default


@dataclass(frozen=True, slots=True)
class FusedGraph:
    """A graph that takes packed weights, or None for each, after its other arguments."""

    call: Callable[..., Any]
    weights: Sequence[torch.Tensor]
    """The weights that may be packed, each of shape (inputs, outputs)."""


def fuse(module: Any) -> FusedGraph:
    """Returns the fused form of a traced module, which stays as it is."""
    fused = copy.copy(module)  # shares the tensors
    fused.graph = copy.deepcopy(module.graph)
    _read_sizes_once(fused.graph)
    _remove_copies(fused.graph)
    rewrite_integer_products(fused.graph)
    weights = _fuse_products(fused)
    fused.graph.eliminate_dead_code()
    fused.recompile()
    # Not __call__, which the tracer replaces while another thread traces.
    return FusedGraph(fused.forward, weights)


# === Sizes and copies ===


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


# === Products ===


def _fuse_products(module: Any) -> list[torch.Tensor]:
    """Replaces products with weights by calls that may take packed weights; returns these weights."""
    weights: list[torch.Tensor] = []
    arguments: dict[int, Any] = {}
    last_argument = [node for node in module.graph.nodes if node.op == "placeholder"][-1]
    for node in list(module.graph.nodes):
        weight = _weight(module, node)
        if weight is None:
            continue
        if id(weight) not in arguments:
            with module.graph.inserting_after(last_argument):
                last_argument = arguments[id(weight)] = module.graph.placeholder(f"packed_{len(weights)}")
            weights.append(weight)
        _replace(module, _Product.at(module, node), arguments[id(weight)])
    return weights


def _weight(module: Any, node: Any) -> torch.Tensor | None:
    """Returns the weight if a node is a product with one, or None."""
    if node.target is not aten.mm.default:
        return None
    return _tensor(module, node.args[1])


@dataclass(slots=True)
class _Product:
    """A product with a weight, and the nodes after it that one kernel call can compute, too."""

    node: Any
    last: Any
    view: Any = None
    bias: Any = None
    activation: Any = None
    residual: Any = None

    @classmethod
    def at(cls, module: Any, node: Any) -> _Product:
        found = cls(node, node)
        following = _only_user(node)
        if following is not None and following.target in _VIEWS and _width(following) == _width(node):
            found.view = found.last = following
            following = _only_user(following)
        if _is_sum(following):
            bias = _other(following, found.last)
            tensor = _tensor(module, bias)
            if tensor is not None and tensor.ndim == 1 and _fits(tensor, node):
                found.bias, found.last = bias, following
                following = _only_user(following)
        if following is not None and following.target in (aten.gelu.default, aten.relu.default):
            found.activation = found.last = following
        elif _is_sum(following):
            other = _other(following, found.last)
            if _is_like(other, found.last):
                found.residual, found.last = other, following
        return found


def _replace(module: Any, product: _Product, packed: Any) -> None:
    graph, rows = module.graph, product.node.args[0]
    activation, algorithm = _activation(product.activation)
    with graph.inserting_before(product.last):
        residual = product.residual
        if residual is not None and product.view is not None:
            residual = graph.call_function(aten.reshape.default, (residual, [-1, _shape(product.node)[-1]]))
        arguments = (rows, product.node.args[1], packed, product.bias, residual, activation, algorithm)
        result = graph.call_function(kernels.product, arguments)
        if product.view is not None:
            result = graph.call_function(product.view.target, (result, product.view.args[1]))
    product.last.replace_all_uses_with(result)
    _erase_unused(graph, product.last)


def _erase_unused(graph: Any, node: Any) -> None:
    """Erases a node without users, and nodes that it alone used; to search all nodes per product is quadratic."""
    waiting, erased = [node], set()
    while waiting:
        node = waiting.pop()
        if node not in erased and not node.users and not node.is_impure():
            waiting += node.all_input_nodes
            graph.erase_node(node)
            erased.add(node)


def _activation(node: Any) -> tuple[str, str]:
    """Returns oneDNN's name of an activation, and of its algorithm."""
    if node is None:
        return "none", ""
    if node.target is aten.relu.default:
        return "relu", ""
    return "gelu", node.kwargs.get("approximate", "none")


def _tensor(module: Any, node: Any) -> torch.Tensor | None:
    """Returns the tensor of the module that a node is, or None."""
    return getattr(module, node.target) if getattr(node, "op", None) == "get_attr" else None


def _only_user(node: Any) -> Any:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_sum(node: Any) -> bool:
    return node is not None and node.target is aten.add.Tensor and not node.kwargs and node.args[0] is not node.args[1]


def _other(node: Any, known: Any) -> Any:
    return node.args[1] if node.args[0] is known else node.args[0]


def _is_like(node: Any, other: Any) -> bool:
    """Says whether two nodes have the same shape and dtype; by their symbols, which assumes no values."""
    if not isinstance(node, torch.fx.Node) or not isinstance(node.meta.get("val"), torch.Tensor):
        return False
    return str(_shape(node)) == str(_shape(other)) and node.meta["val"].dtype == other.meta["val"].dtype


def _fits(bias: torch.Tensor, node: Any) -> bool:
    return str(bias.shape[0]) == _width(node) and bias.dtype == node.meta["val"].dtype


def _width(node: Any) -> str:
    """Returns the last size of a node, as a number or a symbol."""
    return str(_shape(node)[-1])


def _shape(node: Any) -> Any:
    return node.meta["val"].shape
