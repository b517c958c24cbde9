"""Removes views of views: for few rows, a call of a view takes as long as one that computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vertebra_torch.graphs.nodes import VIEWS

aten = torch.ops.aten


def join_views(graph: Any) -> None:
    """Lets views take the first tensor of a chain of views, and leaves out orders of axes that undo each other.

    The memory that tensors share stays the same; views that nothing uses any more stay for others to erase.
    """
    for node in list(graph.nodes):
        if node.target in (*VIEWS, aten.reshape.default):
            source = node.args[0]
            while source.target in VIEWS:  # no reshape, which may be a copy
                source = source.args[0]
            node.args = (source, *node.args[1:])
        elif _undoes_its_input(node):
            node.replace_all_uses_with(node.args[0].args[0], lambda user: user.op != "output")


def _undoes_its_input(node: Any) -> bool:
    """Says whether a node puts the axes into the order that they had before another one changed it."""
    order = _order(node)
    inner = None if order is None else _order(node.args[0])
    return order is not None and inner is not None and [inner[axis] for axis in order] == list(range(len(order)))


def _order(node: Any) -> Sequence[int] | None:
    """Returns the axis of the input that each axis of a node is, or None if the node is no change of order."""
    if node.target is aten.permute.default:
        return [axis % len(node.args[1]) for axis in node.args[1]]
    if node.target is aten.transpose.int:
        axes = list(range(node.meta["val"].ndim))
        first, second = node.args[1:]
        axes[first], axes[second] = axes[second], axes[first]
        return axes
    return None
