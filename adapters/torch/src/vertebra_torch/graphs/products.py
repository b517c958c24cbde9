"""Rewrites a traced graph: each product with a weight by the fastest kernel.

A product with a weight, its bias, and the activation or the residual sum that follows become one call, and so do
products of the same rows with several weights.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vertebra_torch.graphs import sharing
from vertebra_torch.graphs.nodes import VIEWS, only_user
from vertebra_torch.kernels import dense, joint, packing

aten = torch.ops.aten
_TRANSPOSES = (aten.permute.default, aten.t.default)
"""Calls that make a matrix's transpose: with two axes, a permutation that is traced is none else."""
_LAYOUTS = (aten.as_strided.default, aten.view_as_complex.default, aten.view.dtype)
"""Calls that need values in order in memory."""


@dataclass(frozen=True, slots=True)
class FusedProducts:
    """The calls of kernels in a graph."""

    weights: Sequence[tuple[torch.Tensor, ...]]
    """The weights that one packed copy may hold together, each of shape (inputs, outputs)."""
    singles: frozenset[Any]
    """Nodes of results that have memory of their own."""
    parts: frozenset[Any]
    """Nodes of results that may be parts of one tensor, apart from each other."""


def fuse_products(module: Any) -> FusedProducts:
    """Replaces products with weights by calls that may take packed weights."""
    arguments: dict[tuple[object, ...], Any] = {}
    weights: list[tuple[torch.Tensor, ...]] = []
    singles, parts = [], []
    last_argument = [node for node in module.graph.nodes if node.op == "placeholder"][-1]
    for nodes in _groups(module):
        group = tuple(_weight(module, node) for node in nodes)
        identity = packing.identity(group)
        if identity not in arguments:
            with module.graph.inserting_after(last_argument):
                last_argument = arguments[identity] = module.graph.placeholder(f"packed_{len(weights)}")
            weights.append(group)
        members = [_Product.at(module, node) for node in nodes]
        if len(members) == 1:
            singles.append(_replace(members[0], arguments[identity]))
        else:
            parts += _replace_together(members, arguments[identity])
        for member in members:
            _erase_unused(module.graph, member.last)
    return FusedProducts(weights, frozenset(singles), frozenset(parts))


def allow_parts(graph: Any, products: FusedProducts) -> None:
    """Lets views of results also take those that are not in order in memory, as they are parts of larger tensors."""
    owners = sharing.owners(graph, products.singles | products.parts)
    for node in graph.nodes:
        if node.target in VIEWS and owners[node] & products.parts:
            node.target = aten.reshape.default


def _groups(module: Any) -> list[list[Any]]:
    """Returns the products with weights; those of the same rows that one call may compute are in one group."""
    graph, groups = module.graph, {}
    together = _may_be_parts(graph)
    for node in graph.nodes:
        weight = _weight(module, node)
        if weight is not None:
            product = _Product.at(module, node)
            is_alone = product.residual is not None or node.args[1].target in _TRANSPOSES
            alone = is_alone or not together(product.node) or not together(product.last)
            kind = (weight.dtype, weight.device, product.bias is not None)
            groups.setdefault((node.args[0], node if alone else kind), []).append(node)
    return _without_copies_of_copies(module, list(groups.values()))


def _without_copies_of_copies(module: Any, groups: list[list[Any]]) -> list[list[Any]]:
    """Returns groups of which none shares a weight with a different one: the weight would have two packed copies."""
    weights = [frozenset(packing.identity([_weight(module, node)]) for node in nodes) for nodes in groups]
    groups_of: dict[Any, set[frozenset[Any]]] = {}
    for group in weights:
        for weight in group:
            groups_of.setdefault(weight, set()).add(group)
    found: list[list[Any]] = []
    for nodes, group in zip(groups, weights, strict=True):
        is_mixed = any(len(groups_of[weight]) > 1 for weight in group)
        found += [[node] for node in nodes] if is_mixed else [nodes]
    return found


def _may_be_parts(graph: Any) -> Any:
    """Returns a function that says whether the result of a node may be a part of a larger tensor."""
    if any(node.target in _LAYOUTS for node in graph.nodes):
        return lambda _: False
    owners = sharing.owners(graph)
    kept = sharing.kept(graph, owners)
    return lambda node: not owners[node] & kept


def _weight(module: Any, node: Any) -> torch.Tensor | None:
    """Returns the weight if a node is a product with one, or None; it may be a table's transpose, as for logits."""
    if node.target is not aten.mm.default:
        return None
    factor = node.args[1]
    if factor.target in _TRANSPOSES:
        table = _tensor(module, factor.args[0])
        return None if table is None or table.ndim != 2 else table.detach().t()
    return _tensor(module, factor)


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
        following = only_user(node)
        if following is not None and following.target in VIEWS and _width(following) == _width(node):
            found.view = found.last = following
            following = only_user(following)
        if _is_sum(following):
            bias = _other(following, found.last)
            tensor = _tensor(module, bias)
            if tensor is not None and tensor.ndim == 1 and _fits(tensor, node):
                found.bias, found.last = bias, following
                following = only_user(following)
        if following is not None and following.target in (aten.gelu.default, aten.relu.default):
            found.activation = found.last = following
        elif _is_sum(following):
            other = _other(following, found.last)
            if _is_like(other, found.last):
                found.residual, found.last = other, following
        return found

    def finish(self, result: Any) -> None:
        """Replaces the product by a result."""
        result.meta = dict(self.node.meta)
        graph = self.node.graph
        if self.view is not None:
            with graph.inserting_after(result):
                result = graph.call_function(self.view.target, (result, self.view.args[1]))
        result.meta = dict(self.last.meta)
        self.last.replace_all_uses_with(result)


def _replace(product: _Product, packed: Any) -> Any:
    graph, rows = product.node.graph, product.node.args[0]
    with graph.inserting_before(product.last):
        residual = product.residual
        if residual is not None and product.view is not None:
            residual = graph.call_function(aten.reshape.default, (residual, [-1, _shape(product.node)[-1]]))
        arguments = (rows, product.node.args[1], packed, product.bias, residual, *_activation(product.activation))
        result = graph.call_function(dense.product, arguments)
    product.finish(result)
    return result


def _replace_together(products: Sequence[_Product], packed: Any) -> list[Any]:
    graph, rows = products[0].node.graph, products[0].node.args[0]
    weights, biases = [product.node.args[1] for product in products], [product.bias for product in products]
    activations = [_activation(product.activation) for product in products]
    with graph.inserting_before(products[0].node):  # the weights are read before all calls
        results = graph.call_function(joint.products, (rows, weights, packed, biases, activations))
        parts = [graph.call_function(operator.getitem, (results, number)) for number in range(len(products))]
    for product, part in zip(products, parts, strict=True):
        product.finish(part)
    return parts


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
