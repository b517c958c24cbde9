"""Receipts of enabling or loading an adapter."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from vertebra._lora.choices.calls import reading
from vertebra._lora.state import Adapters, adapters_of
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


def summary_lines(model: Any) -> list[str]:
    """Returns a line for the summary of a model about each of its adapters; active adapters come first."""
    with reading(model):
        adapters = adapters_of(model)
        return (
            []
            if adapters is None
            else [_line(adapters, name) for name in dict.fromkeys([*adapters.active, *adapters.known])]
        )


def _line(adapters: Adapters, name: str) -> str:
    receipt = receipt_of(adapters, name)
    state = "inactive" if name not in adapters.active else "active" if adapters.merged is None else "merged"
    return (
        f"Adapter {name}, {state}: {receipt.method}, on {len(receipt.layers)} layers, "
        f"{receipt.parameters_added:,} parameters"
    )


def _count(variables: Iterable[Any]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)
