"""Attachment: the adapted layers hold the active adapters' layers, so that these train."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from vertebra._keras.internals import track_parameters
from vertebra._lora.base_weights import BaseModel
from vertebra._lora.choices.active import ActiveAdapters, AdapterState
from vertebra._lora.control import CONTROL, state_variable, structure_variable
from vertebra._lora.layers.adapter_layers import AdapterLayers
from vertebra._lora.layers.layer_configs import config_of_merged
from vertebra._lora.layers.layer_hooks import hold, release

Strengths = np.ndarray[Any, Any] | None
"""Strengths of the adapters, of shape `(adapters,)` or `(rows, adapters)`; None means one adapter at strength 1."""


class Attachment:
    """The adapter layers that are attached to the layers of one model."""

    def __init__(self, base: BaseModel, state: AdapterState) -> None:
        self._base, self._state = base, state
        self._keys: tuple[str, ...] = ()
        self._shape: tuple[int, ...] | None = None
        self._sets: tuple[AdapterLayers, ...] = ()
        self._controls: dict[tuple[tuple[str, ...], tuple[int, ...] | None], tuple[Any, ...]] = {}
        """Control variables of each structure, kept so that functions compiled for it are reused."""
        self._configured: list[Any] = []

    def attach(self, keys: Sequence[str], sets: Sequence[AdapterLayers], strengths: Strengths) -> bool:
        """Attaches the adapter layers of some plans; returns False if they are attached, so only strengths change."""
        shape = None if strengths is None else strengths.shape
        if tuple(keys) == self._keys and shape == self._shape:
            if strengths is not None:
                self._state.default.strengths.assign(strengths)
            return False
        self.detach()
        if sets:
            self._attach(tuple(keys), tuple(sets), strengths)
        return True

    def detach(self) -> None:
        """Detaches all adapter layers; also works after a failed `attach`."""
        self._state.default = ActiveAdapters()
        for layer, adapter_layers in self._held(self._sets).items():
            release(self._base.layers[layer], [adapter_layer for _, adapter_layer in adapter_layers])
        for layer in self._configured:
            vars(layer).pop("get_config", None)
        if self._sets:
            track_parameters(self._base.model)
        self._sets, self._configured, self._keys, self._shape = (), [], (), None

    def _attach(self, keys: tuple[str, ...], sets: tuple[AdapterLayers, ...], strengths: Strengths) -> None:
        shape = None if strengths is None else strengths.shape
        is_new = (keys, shape) not in self._controls
        if is_new:
            self._controls[keys, shape] = _control_variables(keys, strengths)
        structure, *rest = self._controls[keys, shape]
        for variable in rest:
            variable.assign(strengths)
        self._sets, adapter_layers = sets, self._held(sets)
        for path, own in adapter_layers.items():
            hold(self._base.layers[path], [adapter_layer for _, adapter_layer in own])
            for number, (_, adapter_layer) in enumerate(own):
                adapter_layer.__dict__.update(keeps_base=number == 0, hidden=self._state.has_choice)
        self._reset_holders(adapter_layers, is_new)
        self._state.default = ActiveAdapters(adapter_layers, rest[0] if rest else None, (structure, *rest))
        track_parameters(self._base.model)
        self._keys, self._shape = keys, shape

    def _held(self, sets: Sequence[AdapterLayers]) -> dict[str, list[tuple[int, Any]]]:
        """Returns the adapter layers of each layer, by path, each with the number of its adapter."""
        by_path: dict[str, list[tuple[int, Any]]] = {}
        for number, adapter_layers in enumerate(sets):
            for path, adapter_layer in adapter_layers.layers.items():
                by_path.setdefault(path, []).append((number, adapter_layer))
        return by_path

    def _reset_holders(self, paths: Iterable[str], is_new: bool) -> None:
        """Resets compiled functions of the layers' holders, and replaces their `get_config`."""
        holders = {prefix for path in paths for prefix in _holders(path)}
        for layer in [self._base.model, *(self._base.layers[path] for path in sorted(holders))]:
            if hasattr(layer, CONTROL):
                continue  # its hook has replaced it
            if is_new and isinstance(layer, keras.Model):
                layer.train_function = layer.test_function = layer.predict_function = None
            if not hasattr(layer, "constructor_config") or layer is not self._base.model:  # a backbone's own can
                layer.get_config = config_of_merged(layer.get_config, self._state)
                self._configured.append(layer)


def _control_variables(keys: tuple[str, ...], strengths: Strengths) -> tuple[Any, ...]:
    structure = structure_variable(keys)
    return (structure,) if strengths is None else (structure, state_variable("strengths", strengths))


def _holders(path: str) -> list[str]:
    """Returns the paths of the layers that contain a layer, from the outside in."""
    names = path.split("/")
    return ["/".join(names[:count]) for count in range(1, len(names))]
