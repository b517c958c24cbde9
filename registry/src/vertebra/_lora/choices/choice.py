"""Choices: adapters for some calls alone, as data that does not change the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vertebra._discovery import runtimes
from vertebra._lora.choices.active import ActiveAdapters
from vertebra._lora.control import state_variable, structure_variable
from vertebra._lora.mixing import check_mix
from vertebra._lora.state import Adapters
from vertebra.errors import LoraStateError


def choose(adapters: Adapters, names: Sequence[str], strengths: np.ndarray[Any, Any]) -> ActiveAdapters:
    """Returns a choice of adapters, with their current values.

    Args:
        adapters: The adapters of the model.
        names: Names of the chosen adapters.
        strengths: Their strengths, of shape `(adapters,)` or `(rows, adapters)`.

    Raises:
        LoraStateError: an adapter does not exist or has co-trained weights, the adapters cannot be mixed, or the
            current weights are not those of the base model.
    """
    _check(adapters, names)
    check_mix([adapters.known[name] for name in names], strengths)
    state = adapters.state
    order = sorted(
        range(len(names)), key=lambda number: adapters.known[names[number]].key
    )  # fewer structures to compile
    chosen = [names[number] for number in order]
    residents = [adapters.resident(name) for name in chosen]
    adapter_layers: dict[str, list[tuple[int, Any]]] = {}
    for number, resident in enumerate(residents):
        for path, adapter_layer in resident.layers.items():
            adapter_layers.setdefault(path, []).append((number, adapter_layer))
    weight = state_variable("strengths", np.ascontiguousarray(strengths[..., order]))
    # Two inner models may have adapters of the same settings; a choice for one must not match a trace for the other.
    keys = [adapters.known[name].key for name in chosen]
    structure = structure_variable((f"model {state.number}", *keys))
    variables = [variable for resident in residents for variable in resident.flat()]
    return ActiveAdapters(adapter_layers, weight, (structure, weight, *variables), state, tuple(chosen), state.losses)


def _check(adapters: Adapters, names: Sequence[str]) -> None:
    adapters.require_unmerged()
    adapters.state.check_obstacle()
    for adapter in map(adapters.get, names):
        if adapter.co_trained:
            problem = f"Adapter {adapter.name!r} has co-trained base weights: {', '.join(adapter.co_trained)}"
            raise LoraStateError(problem, f"A call cannot choose it; use activate_lora({adapter.name!r})")
    if runtimes.bind().is_tracing():
        problem = "Adapters were chosen within a function that is being traced, which would make them constants of it"
        raise LoraStateError(problem, "Choose them around its calls: with backbone.lora_rows(...): function(...)")
