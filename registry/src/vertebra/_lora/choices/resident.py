"""Resident adapters: an adapter's values as variables outside the model, for calls that choose the adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from vertebra._discovery import runtimes
from vertebra._keras.internals import is_autocast
from vertebra._lora.layers.adapter_layers import SHARED, AdapterLayers, Values
from vertebra.strategies import AdapterLayer


class ResidentLayer:
    """An adapter layer for strategies, with its own variables and the settings of an adapter layer of the same plan."""

    def __init__(self, adapter_layer: Any, variables: Mapping[str, Any], shared: Any = None) -> None:
        self._template, self.shared = adapter_layer, shared
        vars(self).update(variables)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._template, name)


AdapterLayer.register(ResidentLayer)


@dataclass(frozen=True, slots=True)
class ResidentAdapter:
    """An immutable adapter that calls can choose."""

    layers: dict[str, ResidentLayer]
    """Adapter layers, by path of the adapted layer."""
    variables: dict[str, dict[str, Any]]
    """Every variable once, by path of the layer, or `SHARED`, and by name."""

    def flat(self) -> list[Any]:
        """Returns every variable once, in an order that is the same for all adapters of a plan."""
        return [variable for own in self.variables.values() for variable in own.values()]

    def values(self) -> Values:
        """Returns the values of the variables, as tensors."""
        return {path: {name: variable.value for name, variable in own.items()} for path, own in self.variables.items()}


def make_resident(template: AdapterLayers, values: Values) -> ResidentAdapter:
    """Returns a resident adapter that takes over the values; `template` has adapter layers of the same plan."""
    variables = {
        path: {name: _variable(variable, values[path][name]) for name, variable in own.items()}
        for path, own in template.variables().items()
    }
    shared = None if template.shared is None else ResidentLayer(template.shared, variables[SHARED])
    adapter_layers = {}
    for path, adapter_layer in template.layers.items():
        lent = {name: variables[adapter_layer.lender][name] for name in adapter_layer.lent}
        adapter_layers[path] = ResidentLayer(adapter_layer, variables.get(path, {}) | lent, shared)
    return ResidentAdapter(adapter_layers, variables)


def _variable(like: Any, value: Any) -> Any:
    dtype = str(like.dtype)
    tensor = runtimes.bind().tensor(value, dtype) if isinstance(value, np.ndarray) else value
    return keras.Variable(tensor, dtype=dtype, trainable=False, autocast=is_autocast(like), name=like.name)
