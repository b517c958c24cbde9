"""Tables: layers that a field of PEFT's LoRA config adds, adapted by another method, and projections tied to tables.

PEFT's `trainable_token_indices` is such a field: in addition to the LoRA of some layers, rows of a table train.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra._lora.files.fused_modules import FusedModule, fuse, split
from vertebra._lora.files.peft_names import rows_of
from vertebra._lora.files.peft_types import lora_fields, value_for
from vertebra._lora.layers.linear_view import view_of
from vertebra._lora.plan import LayerPlan
from vertebra.errors import LoraConfigError

if TYPE_CHECKING:
    from vertebra._lora.files.foreign_names import AdapterNames
    from vertebra._lora.layers.adapter_layers import Values
    from vertebra._lora.plan import AdapterPlan


def read_added(
    source: object,
    fields: Mapping[str, Any],
    tensors: Any,
    prefix: str,
    names: AdapterNames,
    layers: Mapping[str, Any],
) -> tuple[dict[str, LayerPlan], Values, set[str]]:
    """Returns plans and values of the added layers, and the names of their tensors.

    Args:
        source: The adapter, for messages.
        fields: The values of the fields that add layers.
        tensors: The tensors of the file.
        prefix: The beginning of their names that is not in the model's.
        names: The names of the model's layers in PEFT.
        layers: The model's layers, by path.

    Raises:
        LoraConfigError: the config has no value for a table that has a tensor, or there is no tensor.
        AdapterMismatchError: a tensor does not fit the table.
    """
    plans: dict[str, LayerPlan] = {}
    values: Values = {}
    taken: set[str] = set()
    for field, reader in lora_fields().items():
        if field not in fields:
            continue
        rows = rows_of(tensors.header.entries, prefix, reader.method.lora_infix)
        _require_rows(source, field, fields[field], [module for module, _ in rows.values()])
        inside = {name: found for name, found in rows.items() if names.layers(found[0])}
        taken |= tied_copies(tensors, rows.keys() - inside.keys(), map(tensors.view, inside))
        for name, (module, tensor) in inside.items():
            paths = names.layers(module)
            options = {reader.method.options[0]: _given(source, field, fields[field], module)}
            views = {path: view_of(layers[path]) for path in paths}
            fused = FusedModule(
                source, module, paths, views, reader.strategy, options={**reader.strategy.options, **options}
            )
            values |= split(fused, {tensor: tensors.view(name)})
            plans |= dict.fromkeys(paths, LayerPlan(1, 1.0, options=options, strategy=reader.name))
            taken.add(name)
    return plans, values, taken


def _require_rows(source: object, field: str, given: Any, modules: Sequence[str]) -> None:
    """Raises LoraConfigError if the file lacks the rows of a table that the config names."""
    keys = list(given) if isinstance(given, Mapping) else [""]
    lacking = [key for key in keys if not any(module.endswith(key) for module in modules)]
    if lacking:
        expected = "rows of each table that it names, which the file does not hold"
        raise LoraConfigError(source, field, given, expected, "Take both files from the same adapter")


def added_tensors(
    source: object, plan: AdapterPlan, names: AdapterNames, layers: Mapping[str, Any], values: Values
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Returns the tensors of the added layers by name, without PEFT's prefix, and the fields of the config.

    Raises:
        LoraConfigError: PEFT's LoRA cannot add layers of that strategy.
    """
    by_strategy = {reader.name: (field, reader) for field, reader in lora_fields().items()}
    arrays: dict[str, Any] = {}
    fields: dict[str, dict[str, Any]] = {}
    for path, layer in plan.layers.items():
        if layer.strategy is None:
            continue
        if layer.strategy not in by_strategy:
            raise LoraConfigError("adapter", "strategy", layer.strategy, "one that PEFT adds to a LoRA adapter")
        field, reader = by_strategy[layer.strategy]
        module, options = names.module(path), plan.options_of(path)
        fused = FusedModule(source, module, [path], {path: view_of(layers[path])}, reader.strategy, options=options)
        _, tensors = fuse(fused, {path: layer}, values)
        arrays |= {f"{module}.{reader.method.lora_infix}{name}": array for name, array in tensors.items()}
        fields.setdefault(field, {})[module] = list(options[reader.method.options[0]])
    return arrays, fields


def tied_copies(tensors: Any, unused: Iterable[str], rows: Iterable[Any]) -> set[str]:
    """Returns the unused tensors that repeat rows of a table: PEFT stores them again for a projection tied to it."""
    tables = list(rows)
    return {name for name in unused if any(np.array_equal(tensors.view(name), array) for array in tables)}


def _given(source: object, field: str, value: Any, module: str) -> Any:
    """Returns the value of a field for a module that has rows."""
    own = value_for(module, value)
    if own is None:
        raise LoraConfigError(source, field, value, f"an entry for {module!r}, of which the file has rows")
    return own
