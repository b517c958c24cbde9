"""Plain-LoRA export: any low-rank strategy's change as the two matrices of plain LoRA."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from vertebra._discovery.catalog import lora_variant, peft_methods
from vertebra._lora.files.adapter_data import AdapterData
from vertebra._lora.layers.adapter_layers import AdapterLayers, build_adapter_layers
from vertebra._lora.layers.linear_view import view_of
from vertebra._lora.plan import AdapterPlan, LayerPlan
from vertebra._weights.abstract import abstract_build
from vertebra._weights.layer_paths import layer_paths
from vertebra.errors import LoraConfigError

Array = np.ndarray[Any, Any]


def plain_strategy() -> str:
    """Returns the name of plain LoRA: the strategy that PEFT computes without any switch."""
    return peft_methods().lookup(lora_variant({})).value.name


def matrices(model: Any, plan: AdapterPlan, data: AdapterData) -> dict[str, tuple[Array, Array]]:
    """Returns, for each layer, `(in, r)` and `(r, out)` matrices whose product is the change of its kernel.

    Raises:
        LoraConfigError: the strategy's change is not such a product.
    """
    if not all(plan.strategy_of(path).is_low_rank for path in plan.layers):
        expected = "a strategy whose change of a kernel is a product of two matrices; merge this adapter instead"
        raise LoraConfigError("adapter", "strategy", plan.config.strategy, expected)
    pairs = {}
    for path, adapter_layer in built_layers(model, plan, data).layers.items():
        factors = adapter_layer.strategy.factors(adapter_layer, adapter_layer.view)
        a, b = (keras.ops.convert_to_numpy(factor) for factor in factors)
        pairs[path] = np.array(a * np.float32(adapter_layer.scale)), np.array(b)
    return pairs


def built_layers(model: Any, plan: AdapterPlan, data: AdapterData) -> AdapterLayers:
    """Returns detached adapter layers with an adapter's values, as the strategy's methods need."""
    layers = layer_paths(model)
    with abstract_build():
        adapter_layers = build_adapter_layers(plan, {path: view_of(layers[path]) for path in plan.layers}, 0)
    adapter_layers.assign(data.values)
    return adapter_layers


def as_plain(model: Any, plan: AdapterPlan, data: AdapterData) -> tuple[AdapterPlan, AdapterData]:
    """Returns an equivalent adapter of plain LoRA; layers that have another strategy than the adapter stay as they are.

    Raises:
        LoraConfigError: the strategy has no plain-LoRA export.
    """
    added = {path: layer for path, layer in plan.layers.items() if layer.strategy is not None}
    own = replace(plan, layers={path: layer for path, layer in plan.layers.items() if path not in added})
    pairs = matrices(model, own, replace(data, values={p: v for p, v in data.values.items() if p not in added}))
    rank = max(a.shape[1] for a, _ in pairs.values())
    config = replace(plan.config, strategy=plain_strategy(), rank=rank, alpha=None, options={}, seed=None)
    config = replace(config, rank_pattern={}, alpha_pattern={})
    layers = {path: LayerPlan(a.shape[1], float(a.shape[1])) for path, (a, _) in pairs.items()}
    values = {path: {"a": a, "b": b} for path, (a, b) in pairs.items()} | {path: data.values[path] for path in added}
    return replace(plan, config=config, layers=layers | added), replace(data, values=values)
