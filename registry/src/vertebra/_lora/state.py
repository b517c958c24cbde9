"""The adapters of a model, by name, and which of them are active."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from vertebra._lora.adapter import Adapter, MergedWeight, RollbackPoint, Weights
from vertebra._lora.base_weights import BaseModel
from vertebra._lora.choices.active import AdapterState
from vertebra._lora.choices.resident import ResidentAdapter, make_resident
from vertebra._lora.choices.table import AdapterTables
from vertebra._lora.control import AdapterControl
from vertebra._lora.layers.adapter_layers import AdapterLayers, Values, as_arrays, build_adapter_layers, host_copy
from vertebra._lora.layers.attachment import Attachment, Strengths
from vertebra._lora.layers.layer_hooks import Hooks
from vertebra._lora.layers.linear_view import view_of
from vertebra._lora.mixing import check_mix
from vertebra.errors import LoraStateError, close_names

_ATTRIBUTE = "_lora_adapters"


def adapters_of(model: Any) -> Adapters | None:
    """Returns a model's `Adapters`, or None if it has no adapter."""
    adapters: Adapters | None = getattr(model, _ATTRIBUTE, None)
    return adapters


def require_adapters(model: Any) -> Adapters:
    """Returns a model's `Adapters`.

    Raises:
        LoraStateError: the model has no adapter.
    """
    adapters = adapters_of(model)
    if adapters is None:
        raise LoraStateError("The model has no LoRA adapter", "Call enable_lora(rank) or load_lora_weights(...) first")
    return adapters


class Adapters:
    """The adapters of one model.

    Every change is atomic: checks come first, and a change that fails is rolled back.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.base = BaseModel(model)
        self.known: dict[str, Adapter] = {}
        """Every adapter, by name."""
        self.strengths: Strengths = None
        self.merged: list[MergedWeight] | None = None
        """The variables that merging has changed; None if no adapter is merged."""
        self._active: tuple[Adapter, ...] = ()
        self._sets: dict[tuple[str, int], AdapterLayers] = {}
        """Adapter layers of each plan that was active, by the plan's key and slot: the index among active adapters."""
        self._originals: Weights = {}
        """Base values of the weights that an active adapter co-trains."""
        self.state = AdapterState(model)
        self._hooks = Hooks(self.base.layers, self.state, AdapterControl(self.state))
        self._attachment = Attachment(self.base, self.state)
        self._resident_lock = threading.Lock()
        self.tables = AdapterTables()

    # === Queries ===

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the active adapters, in the order of their strengths."""
        return tuple(adapter.name for adapter in self._active)

    def get(self, name: str | None) -> Adapter:
        """Returns an adapter by name; None means the active adapter, or the only adapter.

        Raises:
            LoraStateError: the model has no such adapter, or `name` is None and the choice is ambiguous.
        """
        if name is None:
            names = self.active or tuple(self.known)
            if len(names) != 1:
                raise LoraStateError(f"The model has several adapters: {', '.join(names)}", "Name one of them")
            return self.known[names[0]]
        if name not in self.known:
            similar = close_names(name, self.known)
            hint = f"Did you mean {similar[0]!r}?" if similar else f"It has {', '.join(self.known) or 'none'}"
            raise LoraStateError(f"The model has no adapter named {name!r}", hint)
        return self.known[name]

    def layers_of(self, name: str) -> AdapterLayers | None:
        """Returns the adapter layers of an active adapter, or None if it is inactive or merged."""
        if name not in self.active or self.merged is not None:
            return None
        slot = self.active.index(name)
        return self._sets[self._active[slot].key, slot]

    def layers_for(self, adapter: Adapter) -> AdapterLayers | None:
        """Returns the adapter layers for an adapter that is active alone, if its plan already has some."""
        return self._sets.get((adapter.key, 0))

    def values_of(self, name: str) -> Values:
        """Returns the values of an adapter's variables, as arrays."""
        adapter_layers, stored = self.layers_of(name), self.known[name].values
        return as_arrays(adapter_layers.values() if adapter_layers is not None else (stored or {}))

    def co_trained_of(self, name: str) -> Weights:
        """Returns the values of an adapter's co-trained weights; of an active one, of all trainable base weights."""
        if name not in self.active or self.merged is not None:
            return self.known[name].co_trained
        return {weight: host_copy(self.base.weights[weight]) for weight in self.co_trained_names(name)}

    def co_trained_names(self, name: str) -> list[str]:
        """Returns the names of an adapter's co-trained weights."""
        is_active = name in self.active and self.merged is None
        return list(dict.fromkeys([*self.known[name].co_trained, *(self.base.trained() if is_active else [])]))

    def base_value(self, weight: str) -> np.ndarray[Any, Any]:
        """Returns the base model's value of a weight, whichever adapters are active."""
        return self._originals[weight] if weight in self._originals else host_copy(self.base.weights[weight])

    def require_unmerged(self) -> None:
        """Raises LoraStateError while adapters are merged."""
        if self.merged is not None:
            raise LoraStateError(*_merged(self.active))

    def resident(self, name: str) -> ResidentAdapter:
        """Returns an adapter, with its current values, as variables for calls that choose it."""
        adapter = self.known[name]
        with self._resident_lock:
            if name not in self.active:
                return adapter.resident(self._sets[adapter.key, 0])
            adapter_layers = self._sets[adapter.key, self.active.index(name)]
            return make_resident(adapter_layers, adapter_layers.values())

    # === Changes ===

    def add(self, adapter: Adapter, adapter_layers: AdapterLayers) -> None:
        """Adds an adapter, replacing one of the same name, and activates it alone.

        `adapter_layers` are used if no other adapter of the same plan has any; they may already have values.
        """
        self.require_unmerged()
        replaced = self.known.get(adapter.name)
        if self._sets.setdefault((adapter.key, 0), adapter_layers) is not adapter_layers and adapter.values is None:
            adapter.values = adapter_layers.values()
        if adapters_of(self.model) is None:
            setattr(self.model, _ATTRIBUTE, self)
        self.known[adapter.name] = adapter
        try:
            self._update_hooks()
            self.activate([adapter.name])
        except BaseException:
            del self.known[adapter.name]
            if replaced is not None:
                self.known[adapter.name] = replaced
            self._prune(adapter.key)
            self._update_hooks()
            self._uninstall_if_empty()
            raise
        if replaced is not None:
            self._prune(replaced.key)
            self._update_hooks()

    def activate(self, names: Sequence[str], strengths: Strengths = None) -> None:
        """Makes the named adapters the active ones.

        Raises:
            LoraStateError: adapters are merged, base weights were made trainable that no adapter co-trains, an adapter
                with co-trained weights would be active together with others, or the adapters cannot be mixed.
        """
        self.require_unmerged()
        chosen = [self.get(name) for name in names]
        self._check_co_trained(chosen)
        check_mix(chosen, strengths)
        sets = [self._layers_in_slot(adapter, slot) for slot, adapter in enumerate(chosen)]
        before = self._rollback_point(chosen)
        try:
            self._save_active(before)
            self._attach(chosen, sets, strengths)
        except BaseException:
            self._rollback(before)
            raise

    @contextlib.contextmanager
    def base_weights_restored(self) -> Iterator[None]:
        """Restores the base values of co-trained weights within the block."""
        before = self.active, self.strengths
        if not self._originals:
            yield
            return
        self.activate([])
        try:
            yield
        except BaseException:
            self.activate(*before)
            raise

    def remove(self, name: str) -> None:
        """Removes an adapter; removing the last one restores the original model."""
        self.require_unmerged()
        if name in self.active:
            others = [other for other in self.active if other != name]
            strengths = None
            if self.strengths is not None and others:
                strengths = np.delete(self.strengths, self.active.index(name), axis=-1)
            self.activate(others, strengths)
        self._prune(self.known.pop(name).key)
        self._update_hooks()
        self._uninstall_if_empty()

    def detach(self) -> None:
        """Detaches all adapter layers, for merging; the active adapters store their values."""
        self._save_active(self._rollback_point(()))
        self._attachment.detach()
        self.base.freeze(())
        self.state.obstacle = _merged(self.active)

    def reattach(self) -> None:
        """Attaches the adapter layers again after `detach`."""
        sets = [self._layers_in_slot(adapter, slot) for slot, adapter in enumerate(self._active)]
        self._attach(self._active, sets, self.strengths)

    def remove_all(self) -> None:
        """Removes all adapters; kernels stay as they are."""
        self.known.clear()
        self._update_hooks()
        self._uninstall_if_empty()

    # === Steps of changes ===

    def _prune(self, key: str) -> None:
        """Drops the table of a plan, and its adapter layers if no adapter uses them any more."""
        self.tables.forget(key)
        if all(adapter.key != key for adapter in self.known.values()):
            self._sets = {
                slot_key: adapter_layers for slot_key, adapter_layers in self._sets.items() if slot_key[0] != key
            }

    def _update_hooks(self) -> None:
        """Hooks the layers of all adapters, including inactive ones: calls may choose them."""
        self._hooks.install(path for adapter in self.known.values() for path in adapter.plan.layers)

    def _uninstall_if_empty(self) -> None:
        if not self.known and adapters_of(self.model) is self:
            self._attachment.detach()
            self.base.restore()
            delattr(self.model, _ATTRIBUTE)

    def _layers_in_slot(self, adapter: Adapter, slot: int) -> AdapterLayers:
        key = adapter.key, slot
        if key not in self._sets:
            views = {path: view_of(self.base.layers[path]) for path in adapter.plan.layers}
            self._sets[key] = build_adapter_layers(adapter.plan, views, slot)
        return self._sets[key]

    def require_no_unowned_weights(self) -> None:
        """Raises LoraStateError if base weights are trainable whose base values are not known."""
        owned = {weight for adapter in self._active for weight in adapter.co_trained}
        unowned_trainables = [weight for weight in self.base.trained() if weight not in owned] if self._active else []
        if unowned_trainables:
            problem = f"These base weights are trainable but belong to no adapter: {', '.join(unowned_trainables)}"
            remedy = (
                "Co-train them from the start, with enable_lora(..., train=[...]); "
                "if the adapter was loaded with a preset, load its own file on the base model instead"
            )
            raise LoraStateError(problem, remedy)

    def _check_co_trained(self, chosen: Sequence[Adapter]) -> None:
        if [adapter.name for adapter in chosen] != list(self.active):
            self.require_no_unowned_weights()
        exclusive = [adapter.name for adapter in chosen if adapter.co_trained]
        if exclusive and len(chosen) > 1:
            problem = f"Adapter {exclusive[0]!r} has co-trained base weights"
            raise LoraStateError(problem, "It can only be active alone")

    def _rollback_point(self, chosen: Sequence[Adapter]) -> RollbackPoint:
        touched = {weight for adapter in (*self._active, *chosen) for weight in adapter.co_trained}
        sets = [self._sets[adapter.key, slot] for slot, adapter in enumerate(self._active)]
        return RollbackPoint(
            self._active,
            self.strengths,
            [adapter_layers.values() for adapter_layers in sets],
            [adapter.co_trained for adapter in self._active],
            {weight: host_copy(self.base.weights[weight]) for weight in touched},
            self._originals,
            self.base.flags(),
        )

    def _save_active(self, before: RollbackPoint) -> None:
        """Stores the active adapters' values, and restores the base weights."""
        for adapter, values in zip(before.active, before.values, strict=True):
            adapter.values = values
            adapter.co_trained = {weight: before.weights[weight] for weight in adapter.co_trained}
        self._assign_weights(self._originals)
        self._originals = {}

    def _attach(self, chosen: Sequence[Adapter], sets: Sequence[AdapterLayers], strengths: Strengths) -> None:
        """Attaches the chosen adapters' layers, with their values, and sets their co-trained weights."""
        for adapter, adapter_layers in zip(chosen, sets, strict=True):
            if adapter.values is not None:
                adapter_layers.assign(adapter.values, shared=adapter.is_resident)
        co_trained = {weight: value for adapter in chosen for weight, value in adapter.co_trained.items()}
        changed = self._attachment.attach([adapter.key for adapter in chosen], sets, strengths)
        if changed or co_trained or self.base.trained():
            self.base.freeze({path for adapter_layers in sets for path in adapter_layers.layers})
        self._originals = {weight: host_copy(self.base.weights[weight]) for weight in co_trained}
        self._assign_weights(co_trained)
        self.base.unfreeze(co_trained)
        self._active, self.strengths = tuple(chosen), strengths
        self._update_obstacle()
        for adapter in chosen:
            adapter.values = None

    def _rollback(self, before: RollbackPoint) -> None:
        self._attachment.detach()
        self._active, self.strengths, self._originals = before.active, before.strengths, before.originals
        for slot, (adapter, values, co_trained) in enumerate(
            zip(before.active, before.values, before.co_trained, strict=True)
        ):
            adapter.values, adapter.co_trained = None, co_trained
            if values is not None:
                self._sets[adapter.key, slot].assign(values)
        sets = [self._sets[adapter.key, slot] for slot, adapter in enumerate(before.active)]
        self._attachment.attach([adapter.key for adapter in before.active], sets, before.strengths)
        self._assign_weights(before.weights)
        self._update_obstacle()
        self.base.set_flags(before.flags)

    def _update_obstacle(self) -> None:
        """Records why calls cannot choose other adapters, if an active adapter has co-trained weights."""
        exclusive = next((adapter.name for adapter in self._active if adapter.co_trained), None)
        problem = f"Adapter {exclusive!r} is active and has co-trained base weights, so calls cannot choose others"
        self.state.obstacle = None if exclusive is None else (problem, "Disable it first, with disable_lora()")

    def _assign_weights(self, values: Weights) -> None:
        for name, value in values.items():
            variable = self.base.weights[name]
            variable.assign(keras.ops.convert_to_tensor(value, dtype=variable.dtype))


def _merged(names: Sequence[str]) -> tuple[str, str]:
    remedy = "Call unmerge_lora() first. To train the merged model or set its weights, merge with "
    return f"Adapters are merged ({', '.join(names)})", f"{remedy}merge_lora(reversible=False)"
