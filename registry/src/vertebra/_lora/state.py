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
from vertebra._lora.choices.acting import ActingState
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
        self._acting: tuple[Adapter, ...] = ()
        self._sets: dict[tuple[str, int], AdapterLayers] = {}
        """The parts of each plan that has acted, by its key and the place among those that acted at once."""
        self._originals: Weights = {}
        """What the base weights were for which an adapter that acts brings values of its own."""
        self.state = ActingState(model)
        self._hooks = Hooks(self.base.layers, self.state, AdapterControl(self.state))
        self._attachment = Attachment(self.base, self.state)
        self._making = threading.Lock()

    # === What there is ===

    @property
    def active(self) -> tuple[str, ...]:
        """Names of those that act, in the order of their strengths."""
        return tuple(adapter.name for adapter in self._acting)

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

    def parts_of(self, name: str) -> AdapterLayers | None:
        """Returns the parts of an adapter that acts, or None if it does not."""
        if name not in self.active or self.merged is not None:
            return None
        slot = self.active.index(name)
        return self._sets[self._acting[slot].key, slot]

    def layers_for(self, adapter: Adapter) -> AdapterLayers | None:
        """Returns the parts that an adapter would use if it acted alone, if another of the same plan had them made."""
        return self._sets.get((adapter.key, 0))

    def values_of(self, name: str) -> Values:
        """Returns the values of an adapter's variables, as arrays."""
        parts, kept = self.parts_of(name), self.known[name].values
        return as_arrays(parts.values() if parts is not None else (kept or {}))

    def co_trained_of(self, name: str) -> Weights:
        """Returns the values of base weights that are an adapter's own: all that train beside it now, if it acts."""
        if name not in self.active or self.merged is not None:
            return self.known[name].co_trained
        return {weight: host_copy(self.base.weights[weight]) for weight in self.beside_names(name)}

    def beside_names(self, name: str) -> list[str]:
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
        with self._making:
            if name not in self.active:
                return adapter.resident(self._sets[adapter.key, 0])
            parts = self._sets[adapter.key, self.active.index(name)]
            return make_resident(parts, parts.values())

    # === What changes ===

    def add(self, adapter: Adapter, parts: AdapterLayers) -> None:
        """Takes an adapter up, in place of the one of that name if there is one, and makes it the one that acts.

        The parts are used if no other adapter of the same plan has any; they may have values already.
        """
        self.require_unmerged()
        former = self.known.get(adapter.name)
        if self._sets.setdefault((adapter.key, 0), parts) is not parts and adapter.values is None:
            adapter.values = parts.values()
        if adapters_of(self.model) is None:
            setattr(self.model, _ATTRIBUTE, self)
        self.known[adapter.name] = adapter
        try:
            self._cover()
            self.act([adapter.name])
        except BaseException:
            del self.known[adapter.name]
            if former is not None:
                self.known[adapter.name] = former
            self._prune(adapter.key)
            self._cover()
            self._leave_if_empty()
            raise
        if former is not None:
            self._prune(former.key)
            self._cover()

    def act(self, names: Sequence[str], strengths: Strengths = None) -> None:
        """Makes some adapters act, and no others.

        Raises:
            LoraStateError: what is merged must be unmerged first, base weights were made trainable that belong to no
                adapter, or several adapters would bring base weights of their own.
        """
        self.require_unmerged()
        chosen = [self.get(name) for name in names]
        self._check_co_trained(chosen)
        sets = [self._set(adapter, slot) for slot, adapter in enumerate(chosen)]
        before = self._before(chosen)
        try:
            self._save_active(before)
            self._mount_these(chosen, sets, strengths)
        except BaseException:
            self._rollback(before)
            raise

    @contextlib.contextmanager
    def base_weights_back(self) -> Iterator[None]:
        """Gives base weights, for a while, the values of the base, if an adapter that acts brings others."""
        before = self.active, self.strengths
        if not self._originals:
            yield
            return
        self.act([])
        try:
            yield
        except BaseException:
            self.act(*before)
            raise

    def remove(self, name: str) -> None:
        """Gives an adapter up; the model is what it was before if it was the last one."""
        self.require_unmerged()
        if name in self.active:
            others = [other for other in self.active if other != name]
            strengths = None
            if self.strengths is not None and others:
                strengths = np.delete(self.strengths, self.active.index(name), axis=-1)
            self.act(others, strengths)
        self._prune(self.known.pop(name).key)
        self._cover()
        self._leave_if_empty()

    def unmount(self) -> None:
        """Takes the parts off the layers, as when they were merged; those that act keep their values."""
        self._save_active(self._before(()))
        self._attachment.detach()
        self.base.freeze(())
        self.state.obstacle = _merged(self.active)

    def mount_again(self) -> None:
        """Puts the parts back after `unmount`."""
        sets = [self._set(adapter, slot) for slot, adapter in enumerate(self._acting)]
        self._mount_these(self._acting, sets, self.strengths)

    def forget_all(self) -> None:
        """Gives all adapters up; kernels stay as they are."""
        self.known.clear()
        self._cover()
        self._leave_if_empty()

    # === How ===

    def _prune(self, key: str) -> None:
        """Lets go of the parts of a plan that no adapter has any more."""
        if all(adapter.key != key for adapter in self.known.values()):
            self._sets = {place: parts for place, parts in self._sets.items() if place[0] != key}

    def _cover(self) -> None:
        """Gives hooks to the layers of all adapters, also of those that do not act: calls may choose them."""
        self._hooks.cover(path for adapter in self.known.values() for path in adapter.plan.layers)

    def _leave_if_empty(self) -> None:
        if not self.known and adapters_of(self.model) is self:
            self._attachment.detach()
            self.base.restore()
            delattr(self.model, _ATTRIBUTE)

    def _set(self, adapter: Adapter, slot: int) -> AdapterLayers:
        place = adapter.key, slot
        if place not in self._sets:
            views = {path: view_of(self.base.layers[path]) for path in adapter.plan.layers}
            self._sets[place] = build_adapter_layers(adapter.plan, views, slot)
        return self._sets[place]

    def require_no_strays(self) -> None:
        """Raises LoraStateError if base weights train of which nobody knows the values of before."""
        own = {weight for adapter in self._acting for weight in adapter.co_trained}
        unowned_trainables = [weight for weight in self.base.trained() if weight not in own] if self._acting else []
        if unowned_trainables:
            problem = f"These base weights were made trainable beside the adapter: {', '.join(unowned_trainables)}"
            remedy = (
                "Make them part of it from the start, with enable_lora(..., train=[...]); "
                "of an adapter that was loaded with a preset, load its own file on the base instead"
            )
            raise LoraStateError(problem, remedy)

    def _check_co_trained(self, chosen: Sequence[Adapter]) -> None:
        if [adapter.name for adapter in chosen] != list(self.active):
            self.require_no_strays()
        bringing = [adapter.name for adapter in chosen if adapter.co_trained]
        if bringing and len(chosen) > 1:
            problem = f"Adapter {bringing[0]!r} brings base weights of its own"
            raise LoraStateError(problem, "It can only act alone")

    def _before(self, chosen: Sequence[Adapter]) -> RollbackPoint:
        touched = {weight for adapter in (*self._acting, *chosen) for weight in adapter.co_trained}
        sets = [self._sets[adapter.key, slot] for slot, adapter in enumerate(self._acting)]
        return RollbackPoint(
            self._acting,
            self.strengths,
            [parts.values() for parts in sets],
            [adapter.co_trained for adapter in self._acting],
            {weight: host_copy(self.base.weights[weight]) for weight in touched},
            self._originals,
            self.base.flags(),
        )

    def _save_active(self, before: RollbackPoint) -> None:
        """Puts the values of those that act on the shelf, and the base weights back."""
        for adapter, values in zip(before.acting, before.values, strict=True):
            adapter.values = values
            adapter.co_trained = {weight: before.weights[weight] for weight in adapter.co_trained}
        self._give_weights(self._originals)
        self._originals = {}

    def _mount_these(self, chosen: Sequence[Adapter], sets: Sequence[AdapterLayers], strengths: Strengths) -> None:
        """Gives parts their values, layers their parts and base weights what is the adapters' own."""
        for adapter, parts in zip(chosen, sets, strict=True):
            if adapter.values is not None:
                parts.assign(adapter.values, shared=adapter.is_resident)
        own = {weight: value for adapter in chosen for weight, value in adapter.co_trained.items()}
        others = self._attachment.attach([adapter.key for adapter in chosen], sets, strengths)
        if others or own or self.base.trained():
            self.base.freeze({path for parts in sets for path in parts.parts})
        self._originals = {weight: host_copy(self.base.weights[weight]) for weight in own}
        self._give_weights(own)
        self.base.unfreeze(own)
        self._acting, self.strengths = tuple(chosen), strengths
        self._tell_state()
        for adapter in chosen:
            adapter.values = None

    def _rollback(self, before: RollbackPoint) -> None:
        self._attachment.detach()
        self._acting, self.strengths, self._originals = before.acting, before.strengths, before.originals
        for slot, (adapter, values, co_trained) in enumerate(
            zip(before.acting, before.values, before.co_trained, strict=True)
        ):
            adapter.values, adapter.co_trained = None, co_trained
            if values is not None:
                self._sets[adapter.key, slot].assign(values)
        sets = [self._sets[adapter.key, slot] for slot, adapter in enumerate(before.acting)]
        self._attachment.attach([adapter.key for adapter in before.acting], sets, before.strengths)
        self._give_weights(before.weights)
        self._tell_state()
        before.flags.restore()

    def _tell_state(self) -> None:
        """Says why calls cannot choose other adapters now, if they cannot."""
        bringing = next((adapter.name for adapter in self._acting if adapter.co_trained), None)
        problem = f"Adapter {bringing!r} acts, and brings base weights of its own, so calls cannot choose others"
        self.state.obstacle = None if bringing is None else (problem, "Disable it first, with disable_lora()")

    def _give_weights(self, values: Weights) -> None:
        for name, value in values.items():
            variable = self.base.weights[name]
            variable.assign(keras.ops.convert_to_tensor(value, dtype=variable.dtype))


def _merged(names: Sequence[str]) -> tuple[str, str]:
    return f"Adapters are merged ({', '.join(names)})", "Call unmerge_lora() first"
