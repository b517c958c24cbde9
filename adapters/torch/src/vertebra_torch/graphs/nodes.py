"""Questions about single nodes of a traced graph, which several passes ask."""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten
VIEWS = (aten._unsafe_view.default, aten.view.default)
"""Calls that give values in order in memory another shape."""


def only_user(node: Any) -> Any:
    """Returns the node that uses a node, or None if there are none or several."""
    return next(iter(node.users)) if len(node.users) == 1 else None
