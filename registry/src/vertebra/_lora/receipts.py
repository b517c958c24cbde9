"""Receipts of enabling or loading an adapter."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from vertebra._lora.state import Adapters
from vertebra.specs import LoraReceipt


def receipt_of(adapters: Adapters, name: str) -> LoraReceipt:
    """Returns a receipt: the parameters that an adapter added, and the currently trained and frozen parameters.

    Args:
        adapters: The adapters of the model.
        name: Name of the adapter.
    """
    adapter, adapter_layers = adapters.known[name], adapters.layers_of(name)
    values = adapter.values if adapter_layers is None else adapter_layers.variables()
    trained, everything = _count(adapters.model.trainable_weights), _count(adapters.model.weights)
    return LoraReceipt(
        config=adapter.plan.config,
        layers=tuple(adapter.plan.layers),
        parameters_added=sum(_count(own.values()) for own in (values or {}).values()),
        parameters_trained=trained,
        parameters_frozen=everything - trained,
        name=name,
        scale=adapter.plan.scale,
        trained=tuple(adapter.co_trained),
        method=adapter.plan.method(", "),
    )


def _count(variables: Iterable[Any]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)
