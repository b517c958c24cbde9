"""Placing: gives each variable of an abstract model its value from the mapped checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra._weights.abstract import give_value
from vertebra._weights.checkpoint import Checkpoint
from vertebra.interfaces import Runtime
from vertebra.specs import TensorRule


def place(runtime: Runtime, weights: Mapping[str, Any], checkpoint: Checkpoint, sources: Mapping[str, TensorRule]) -> None:
    """Fills each weight once, viewing the file wherever dtype and layout allow."""
    for name, rule in sources.items():
        array = checkpoint.view(rule.tensor)
        give_value(weights[name], runtime.tensor(array.T if rule.transpose else array, str(weights[name].dtype)))
