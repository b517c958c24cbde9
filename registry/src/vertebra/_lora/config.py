"""The entry of the active adapter in a backbone's config, by which presets and `.keras` files store it."""

from __future__ import annotations

from typing import Any

from vertebra._lora.plan import plan_as_data
from vertebra._lora.state import adapters_of
from vertebra.errors import LoraStateError


def adapter_config(model: Any) -> dict[str, Any] | None:
    """Returns the active adapter's plan as plain data, without values; None if no adapter is active or all are merged.

    Raises:
        LoraStateError: several adapters are active, or one at a strength other than 1.
    """
    adapters = adapters_of(model)
    if adapters is None or adapters.merged is not None or not adapters.active:
        return None
    if adapters.strengths is not None:
        problem = f"Several adapters are active, or one at a strength other than 1: {', '.join(adapters.active)}"
        raise LoraStateError(problem, "Save them one by one with save_lora_weights, or merge them")
    adapter = adapters.known[adapters.active[0]]
    facts = {"name": adapter.name, "base": adapter.base, "trained": adapters.co_trained_names(adapter.name)}
    return plan_as_data(adapter.plan) | facts
