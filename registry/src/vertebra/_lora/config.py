"""Keeping: what a backbone's config says of the adapter that acts, so that presets and `.keras` files hold it."""

from __future__ import annotations

from typing import Any

from vertebra._lora.plan import plan_as_data
from vertebra._lora.state import adapters_of
from vertebra.errors import LoraStateError


def adapter_config(model: Any) -> dict[str, Any] | None:
    """Returns plain data from which the same adapter is built, without its values; None if none acts or all are merged.

    Raises:
        LoraStateError: several act, or one with another strength than 1.
    """
    adapters = adapters_of(model)
    if adapters is None or adapters.merged is not None or not adapters.active:
        return None
    if adapters.strengths is not None:
        problem = f"Several adapters act, or at another strength than 1: {', '.join(adapters.active)}"
        raise LoraStateError(problem, "Save them one by one with save_lora_weights, or merge them")
    adapter = adapters.known[adapters.active[0]]
    facts = {"name": adapter.name, "base": adapter.base, "trained": adapters.co_trained_names(adapter.name)}
    return plan_as_data(adapter.plan) | facts
