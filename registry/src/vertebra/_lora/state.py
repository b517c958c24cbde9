"""The adapters of a model: all that it has, by name, and those that act."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from vertebra._lora.adapter import Adapter, RollbackPoint, Weights
from vertebra._lora.base_weights import BaseModel
from vertebra._lora.choices.active import AdapterState
from vertebra._lora.choices.resident import ResidentAdapter, make_resident
from vertebra._lora.control import AdapterControl
from vertebra._lora.layers.adapter_layers import AdapterLayers, Values, as_arrays, build_adapter_layers, host_copy
from vertebra._lora.layers.attachment import Attachment, Strengths
from vertebra._lora.layers.layer_hooks import Hooks
from vertebra._lora.layers.linear_view import view_of
from vertebra.errors import LoraStateError, close_names

_ATTRIBUTE = "_lora_adapters"


def adapters_of(model: Any) -> Adapters | None:
    """Returns what holds a model's adapters, or None if it has none."""
    found: Adapters | None = getattr(model, _ATTRIBUTE, None)
    return found


def require_adapters(model: Any) -> Adapters:
    """Returns what holds a model's adapters.

    Raises:
        LoraStateError: it has none.
    """
    found = adapters_of(model)
    if found is None:
        raise LoraStateError("The model has no LoRA adapter", "Call enable_lora(rank) or load_lora_weights(...) first")
    return found


class Adapters:
    """The adapters of one model.

    Every change is all or nothing: what can fail comes first, and what fails nevertheless is undone.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.base = BaseModel(model)
        self.known: dict[str, Adapter] = {}
        """Every adapter, by name."""
        self.strengths: Strengths = None
        self.merged: list[tuple[Any, np.ndarray[Any, Any]]] | None = None
        """Variables with the values they had before merging; None if nothing is merged."""
        self._active: tuple[Adapter, ...] = ()
        self._sets: dict[tuple[str, int], AdapterLayers] = {}
        """The parts of each plan that has acted, by its key and the place among those that acted at once."""
        self._originals: Weights = {}
        """What the base weights were for which an adapter that acts brings values of its own."""
        self.state = AdapterState(model)
        self._hooks = Hooks(self.base.layers, self.state, AdapterControl(self.state))
        self._attachment = Attachment(self.base, self.state)
        self._resident_lock = threading.Lock()

    # === What there is ===

    @property
    def active(self) -> tuple[str, ...]:
        """Names of those that act, in the order of their strengths."""
        return tuple(adapter.name for adapter in self._active)

    def get(self, name: str | None) -> Adapter:
        """Returns an adapter by name; None means the only one that acts, or the only one there is.

        Raises:
            LoraStateError: there is no such adapter, or several that could be meant.
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
        """Returns the parts of an adapter that acts, or None if it does not."""
        if name not in self.active or self.merged is not None:
            return None
        slot = self.active.index(name)
        return self._sets[self._active[slot].key, slot]

    def layers_for(self, adapter: Adapter) -> AdapterLayers | None:
        """Returns the parts that an adapter would use if it acted alone, if another of the same plan had them made."""
        return self._sets.get((adapter.key, 0))

    def values_of(self, name: str) -> Values:
        """Returns the values of an adapter's variables, as arrays."""
        adapter_layers, kept = self.layers_of(name), self.known[name].values
        return as_arrays(adapter_layers.values() if adapter_layers is not None else (kept or {}))

    def co_trained_of(self, name: str) -> Weights:
        """Returns the values of base weights that are an adapter's own: all that train beside it now, if it acts."""
        if name not in self.active or self.merged is not None:
            return self.known[name].co_trained
        return {weight: host_copy(self.base.weights[weight]) for weight in self.co_trained_names(name)}

    def co_trained_names(self, name: str) -> list[str]:
        """Returns the names of these weights."""
        acts = name in self.active and self.merged is None
        return list(dict.fromkeys([*self.known[name].co_trained, *(self.base.trained() if acts else [])]))

    def base_value(self, weight: str) -> np.ndarray[Any, Any]:
        """Returns the value of a weight that the base has, whatever acts now."""
        return self._originals[weight] if weight in self._originals else host_copy(self.base.weights[weight])

    def require_unmerged(self) -> None:
        """Raises LoraStateError while adapters are merged."""
        if self.merged is not None:
            raise LoraStateError(*_merged(self.active))

    def resident(self, name: str) -> ResidentAdapter:
        """Returns an adapter, with the values that it has now, as variables for calls that choose it."""
        adapter = self.known[name]
        with self._resident_lock:
            if name not in self.active:
                return adapter.resident(self._sets[adapter.key, 0])
            adapter_layers = self._sets[adapter.key, self.active.index(name)]
            return make_resident(adapter_layers, adapter_layers.values())

    # === What changes ===

    def add(self, adapter: Adapter, adapter_layers: AdapterLayers) -> None:
        """Takes an adapter up, in place of the one of that name if there is one, and makes it the one that acts.

        The parts are used if no other adapter of the same plan has any; they may have values already.
        """
        self.require_unmerged()
        former = self.known.get(adapter.name)
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
            if former is not None:
                self.known[adapter.name] = former
            self._prune(adapter.key)
            self._update_hooks()
            self._uninstall_if_empty()
            raise
        if former is not None:
            self._prune(former.key)
            self._update_hooks()

    def activate(self, names: Sequence[str], strengths: Strengths = None) -> None:
        """Makes some adapters act, and no others.

        Raises:
            LoraStateError: what is merged must be unmerged first, base weights were made trainable that belong to no
                adapter, or several adapters would bring base weights of their own.
        """
        self.require_unmerged()
        chosen = [self.get(name) for name in names]
        self._check_co_trained(chosen)
        sets = [self._set(adapter, slot) for slot, adapter in enumerate(chosen)]
        before = self._rollback_point(chosen)
        try:
            self._save_active(before)
            self._attach(chosen, sets, strengths)
        except BaseException:
            self._rollback(before)
            raise

    @contextlib.contextmanager
    def base_weights_restored(self) -> Iterator[None]:
        """Gives base weights, for a while, the values of the base, if an adapter that acts brings others."""
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
        """Gives an adapter up; the model is what it was before if it was the last one."""
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
        """Takes the parts off the layers, as when they were merged; those that act keep their values."""
        self._save_active(self._rollback_point(()))
        self._attachment.detach()
        self.base.freeze(())
        self.state.obstacle = _merged(self.active)

    def reattach(self) -> None:
        """Puts the parts back after `detach`."""
        sets = [self._set(adapter, slot) for slot, adapter in enumerate(self._active)]
        self._attach(self._active, sets, self.strengths)

    def remove_all(self) -> None:
        """Gives all adapters up; kernels stay as they are."""
        self.known.clear()
        self._update_hooks()
        self._uninstall_if_empty()

    # === How ===

    def _prune(self, key: str) -> None:
        """Lets go of the parts of a plan that no adapter has any more."""
        if all(adapter.key != key for adapter in self.known.values()):
            self._sets = {
                slot_key: adapter_layers for slot_key, adapter_layers in self._sets.items() if slot_key[0] != key
            }

    def _update_hooks(self) -> None:
        """Gives hooks to the layers of all adapters, also of those that do not act: calls may choose them."""
        self._hooks.install(path for adapter in self.known.values() for path in adapter.plan.layers)

    def _uninstall_if_empty(self) -> None:
        if not self.known and adapters_of(self.model) is self:
            self._attachment.detach()
            self.base.restore()
            delattr(self.model, _ATTRIBUTE)

    def _set(self, adapter: Adapter, slot: int) -> AdapterLayers:
        key = adapter.key, slot
        if key not in self._sets:
            views = {path: view_of(self.base.layers[path]) for path in adapter.plan.layers}
            self._sets[key] = build_adapter_layers(adapter.plan, views, slot)
        return self._sets[key]

    def require_no_unowned_weights(self) -> None:
        """Raises LoraStateError if base weights train of which nobody knows the values of before."""
        own = {weight for adapter in self._active for weight in adapter.co_trained}
        unowned_trainables = [weight for weight in self.base.trained() if weight not in own] if self._active else []
        if unowned_trainables:
            problem = f"These base weights were made trainable beside the adapter: {', '.join(unowned_trainables)}"
            remedy = (
                "Make them part of it from the start, with enable_lora(..., train=[...]); "
                "of an adapter that was loaded with a preset, load its own file on the base instead"
            )
            raise LoraStateError(problem, remedy)

    def _check_co_trained(self, chosen: Sequence[Adapter]) -> None:
        if [adapter.name for adapter in chosen] != list(self.active):
            self.require_no_unowned_weights()
        bringing = [adapter.name for adapter in chosen if adapter.co_trained]
        if bringing and len(chosen) > 1:
            problem = f"Adapter {bringing[0]!r} brings base weights of its own"
            raise LoraStateError(problem, "It can only act alone")

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
        """Puts the values of those that act on the shelf, and the base weights back."""
        for adapter, values in zip(before.active, before.values, strict=True):
            adapter.values = values
            adapter.co_trained = {weight: before.weights[weight] for weight in adapter.co_trained}
        self._assign_weights(self._originals)
        self._originals = {}

    def _attach(self, chosen: Sequence[Adapter], sets: Sequence[AdapterLayers], strengths: Strengths) -> None:
        """Gives parts their values, layers their parts and base weights what is the adapters' own."""
        for adapter, adapter_layers in zip(chosen, sets, strict=True):
            if adapter.values is not None:
                adapter_layers.assign(adapter.values, shared=adapter.is_resident)
        own = {weight: value for adapter in chosen for weight, value in adapter.co_trained.items()}
        others = self._attachment.attach([adapter.key for adapter in chosen], sets, strengths)
        if others or own or self.base.trained():
            self.base.freeze({path for adapter_layers in sets for path in adapter_layers.layers})
        self._originals = {weight: host_copy(self.base.weights[weight]) for weight in own}
        self._assign_weights(own)
        self.base.unfreeze(own)
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
        before.flags.restore()

    def _update_obstacle(self) -> None:
        """Says why calls cannot choose other adapters now, if they cannot."""
        bringing = next((adapter.name for adapter in self._active if adapter.co_trained), None)
        problem = f"Adapter {bringing!r} acts, and brings base weights of its own, so calls cannot choose others"
        self.state.obstacle = None if bringing is None else (problem, "Disable it first, with disable_lora()")

    def _assign_weights(self, values: Weights) -> None:
        for name, value in values.items():
            variable = self.base.weights[name]
            variable.assign(keras.ops.convert_to_tensor(value, dtype=variable.dtype))


def _merged(names: Sequence[str]) -> tuple[str, str]:
    return f"Adapters are merged ({', '.join(names)})", "Call unmerge_lora() first"
