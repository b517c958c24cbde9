"""Layers that an adapter has in addition to those of its LoRA, adapted by another strategy, such as rows of a table.

A strategy declares the field of PEFT's LoRA config that adds them (`PeftMethod.lora_field`); the same name is an
argument of `enable_lora`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vertebra._arguments import plain
from vertebra._lora.files.peft_types import lora_fields, where_computed
from vertebra._lora.plan import AdapterPlan, LayerPlan
from vertebra._lora.targets import Layers, Roles, find_targets
from vertebra.errors import LoraConfigError
from vertebra.specs import LoraConfig

_SETTINGS = "LoRA settings"


def split_fields(config: LoraConfig) -> tuple[LoraConfig, dict[str, Any]]:
    """Returns the settings without the fields that add layers, and these fields; NumPy's values become Python's.

    Raises:
        LoraConfigError: a plugin has the strategy for a field, and is not installed.
    """
    for name, value in config.options.items():
        remedy = where_computed(name)
        if remedy is not None and name not in lora_fields():
            raise LoraConfigError(_SETTINGS, name, value, "a setting that an installed strategy declares", remedy)
    given = {name: plain(value) for name, value in config.options.items()}
    fields = {name: given[name] for name in lora_fields() if given.get(name) is not None}
    options = {name: value for name, value in given.items() if name not in lora_fields()}
    return replace(config, options=options), fields


def added_layers(
    model: Any, plan: AdapterPlan, fields: Mapping[str, Any], co_trained: Collection[str], roles: Roles, layers: Layers
) -> dict[str, LayerPlan]:
    """Returns the plans of the added layers, by path.

    Args:
        model: The model.
        plan: The plan of the other layers.
        fields: The values of the fields, each for the token embedding, or a mapping from targets to values.
        co_trained: Names of the co-trained weights.
        roles: Globs of paths for each role of the architecture.
        layers: The layers of the model, by path.

    Raises:
        LoraConfigError: a value is no sequence of ints, the strategy is no LoRA, or the adapter also adapts or trains
            such a layer in another way.
        LoraTargetError: a target matches no layer that can be adapted.
    """
    added = {}
    for field, value in fields.items():
        reader = lora_fields()[field]
        if plan.strategy.peft_method is not None:
            expected = f"none: only adapters of LoRA have it, and {plan.config.strategy!r} is another method"
            raise LoraConfigError(_SETTINGS, field, value, expected)
        for path, own in _by_path(model, field, value, roles, layers).items():
            if path in plan.layers or any(weight.startswith(f"{path}/") for weight in co_trained):
                expected = f"layers that the adapter does not adapt or train in another way, as it does {path!r}"
                raise LoraConfigError(_SETTINGS, field, value, expected)
            added[path] = LayerPlan(1, 1.0, options={reader.method.options[0]: own}, strategy=reader.name)
    return added


def _by_path(model: Any, field: str, value: Any, roles: Roles, layers: Layers) -> dict[str, list[int]]:
    """Returns the value of a field for each layer."""
    own = value if isinstance(value, Mapping) else {_token_table(model, field, value, layers): value}
    if not own or not all(map(_are_ints, own.values())):
        expected = "a list of ints, for the token embedding, or a mapping from targets to lists"
        raise LoraConfigError(_SETTINGS, field, value, expected)
    found = {target: find_targets(model, [target], roles, layers) for target in own}
    return {path: list(own[target]) for target, paths in found.items() for path in paths}


def _are_ints(value: Any) -> bool:
    """Returns whether a value is a sequence of ints."""
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return is_sequence and all(type(item) is int for item in value)


def _token_table(model: Any, field: str, value: Any, layers: Layers) -> str:
    table = getattr(model, "token_embedding", None)
    path = next((path for path, layer in layers.items() if table is not None and layer is table), None)
    if path is None:
        expected = "a mapping from targets to lists: the model names no token_embedding"
        raise LoraConfigError(_SETTINGS, field, value, expected)
    return path
