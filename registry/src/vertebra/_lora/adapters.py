"""The adapters of a model: all that it has, by name, and those that act."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from vertebra._lora.base import Base, Flags
from vertebra._lora.mounting import Mount, Strengths
from vertebra._lora.parts import PartSet, Values, as_arrays, build_parts, host_copy
from vertebra._lora.plan import AdapterPlan
from vertebra._lora.sites import site_of
from vertebra.errors import LoraConfigError, LoraStateError, close_names
from vertebra.specs import LoraReceipt

_ATTRIBUTE = "_lora_adapters"

Weights = dict[str, "np.ndarray[Any, Any]"]
"""Values of base weights, by name."""


@dataclass(slots=True)
class Adapter:
    """An adapter of a model."""

    name: str
    plan: AdapterPlan
    base: str | None
    """Fingerprint of the kernels that it was trained beside, or None if nobody knows."""
    values: Values | None
    """Values of its variables while it does not act; while it does, its parts have them."""
    beside: Weights = field(default_factory=dict)
    """Values of the base weights that are its own, while it does not act."""
    key: str = field(init=False)
    """The same for all adapters of the same plan."""

    def __post_init__(self) -> None:
        self.key = self.plan.key()


@dataclass(frozen=True, slots=True)
class _Before:
    """What a change starts from, to go back to."""

    acting: tuple[Adapter, ...]
    strengths: Strengths
    values: list[Values | None]
    """Of those that act."""
    beside: list[Weights]
    weights: Weights
    """Values of the base weights that the change may touch."""
    originals: Weights
    flags: Flags


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
        self.base = Base(model)
        self.known: dict[str, Adapter] = {}
        """Every adapter, by name."""
        self.strengths: Strengths = None
        self.merged: list[tuple[Any, np.ndarray[Any, Any]]] | None = None
        """Variables with the values they had before merging; None if nothing is merged."""
        self._acting: tuple[Adapter, ...] = ()
        self._sets: dict[tuple[str, int], PartSet] = {}
        """The parts of each plan that has acted, by its key and the place among those that acted at once."""
        self._originals: Weights = {}
        """What the base weights were for which an adapter that acts brings values of its own."""
        self._mount = Mount(self.base)

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
            hint = f"Did you mean {similar[0]!r}" if similar else f"It has {', '.join(self.known) or 'none'}"
            raise LoraStateError(f"The model has no adapter named {name!r}", hint)
        return self.known[name]

    def parts_of(self, name: str) -> PartSet | None:
        """Returns the parts of an adapter that acts, or None if it does not."""
        if name not in self.active or self.merged is not None:
            return None
        slot = self.active.index(name)
        return self._sets[self._acting[slot].key, slot]

    def parts_for(self, adapter: Adapter) -> PartSet | None:
        """Returns the parts that an adapter would use if it acted alone, if another of the same plan had them made."""
        return self._sets.get((adapter.key, 0))

    def values_of(self, name: str) -> Values:
        """Returns the values of an adapter's variables, as arrays."""
        parts, kept = self.parts_of(name), self.known[name].values
        return as_arrays(parts.values() if parts is not None else (kept or {}))

    def beside_of(self, name: str) -> Weights:
        """Returns the values of base weights that are an adapter's own: all that train beside it now, if it acts."""
        if name not in self.active or self.merged is not None:
            return self.known[name].beside
        return {weight: host_copy(self.base.weights[weight]) for weight in self.beside_names(name)}

    def beside_names(self, name: str) -> list[str]:
        """Returns the names of these weights."""
        acts = name in self.active and self.merged is None
        return list(dict.fromkeys([*self.known[name].beside, *(self.base.trained() if acts else [])]))

    def base_value(self, weight: str) -> np.ndarray[Any, Any]:
        """Returns the value of a weight that the base has, whatever acts now."""
        return self._originals[weight] if weight in self._originals else host_copy(self.base.weights[weight])

    def receipt(self, name: str, unused: Sequence[str] = ()) -> LoraReceipt:
        """Counts what an adapter added, and what is trained and frozen now."""
        adapter, parts = self.known[name], self.parts_of(name)
        values = adapter.values if parts is None else parts.variables()
        trained, everything = _count(self.model.trainable_weights), _count(self.model.weights)
        return LoraReceipt(
            config=adapter.plan.config,
            layers=tuple(adapter.plan.layers),
            parameters_added=sum(_count(own.values()) for own in (values or {}).values()),
            parameters_trained=trained,
            parameters_frozen=everything - trained,
            name=name,
            scale=adapter.plan.scale,
            trained=tuple(adapter.beside),
            unused=tuple(unused),
        )

    def require_unmerged(self) -> None:
        """Raises LoraStateError while adapters are merged."""
        if self.merged is not None:
            raise LoraStateError(f"Adapters are merged ({', '.join(self.active)})", "Call unmerge_lora() first")

    # === What changes ===

    def add(self, adapter: Adapter, parts: PartSet) -> None:
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
            self.act([adapter.name])
        except BaseException:
            del self.known[adapter.name]
            if former is not None:
                self.known[adapter.name] = former
            self._prune(adapter.key)
            self._leave_if_empty()
            raise
        if former is not None:
            self._prune(former.key)

    def act(self, names: Sequence[str], strengths: Strengths = None) -> None:
        """Makes some adapters act, and no others.

        Raises:
            LoraStateError: what is merged must be unmerged first, base weights were made trainable that belong to no
                adapter, or several adapters would bring base weights of their own.
        """
        self.require_unmerged()
        chosen = [self.get(name) for name in names]
        self._check_beside(chosen)
        sets = [self._set(adapter, slot) for slot, adapter in enumerate(chosen)]
        before = self._before(chosen)
        try:
            self._stow(before)
            self._mount_these(chosen, sets, strengths)
        except BaseException:
            self._go_back(before)
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
        self._leave_if_empty()

    def unmount(self) -> None:
        """Takes the parts off the layers, as when they were merged; those that act keep their values."""
        self._stow(self._before(()))
        self._mount.take_off()
        self.base.freeze(())

    def mount_again(self) -> None:
        """Puts the parts back after `unmount`."""
        sets = [self._set(adapter, slot) for slot, adapter in enumerate(self._acting)]
        self._mount_these(self._acting, sets, self.strengths)

    def forget_all(self) -> None:
        """Gives all adapters up; kernels stay as they are."""
        self.known.clear()
        self._leave_if_empty()

    # === How ===

    def _prune(self, key: str) -> None:
        """Lets go of the parts of a plan that no adapter has any more."""
        if all(adapter.key != key for adapter in self.known.values()):
            self._sets = {place: parts for place, parts in self._sets.items() if place[0] != key}

    def _leave_if_empty(self) -> None:
        if not self.known and adapters_of(self.model) is self:
            self._mount.take_off()
            self.base.restore()
            delattr(self.model, _ATTRIBUTE)

    def _set(self, adapter: Adapter, slot: int) -> PartSet:
        place = adapter.key, slot
        if place not in self._sets:
            sites = {path: site_of(self.base.layers[path]) for path in adapter.plan.layers}
            self._sets[place] = build_parts(adapter.plan, sites, slot)
        return self._sets[place]

    def require_no_strays(self) -> None:
        """Raises LoraStateError if base weights train of which nobody knows the values of before."""
        own = {weight for adapter in self._acting for weight in adapter.beside}
        strays = [weight for weight in self.base.trained() if weight not in own] if self._acting else []
        if strays:
            problem = f"These base weights were made trainable beside the adapter: {', '.join(strays)}"
            remedy = (
                "Make them part of it from the start, with enable_lora(..., train=[...]); "
                "of an adapter that was loaded with a preset, load its own file on the base instead"
            )
            raise LoraStateError(problem, remedy)

    def _check_beside(self, chosen: Sequence[Adapter]) -> None:
        if [adapter.name for adapter in chosen] != list(self.active):
            self.require_no_strays()
        bringing = [adapter.name for adapter in chosen if adapter.beside]
        if bringing and len(chosen) > 1:
            problem = f"Adapter {bringing[0]!r} brings base weights of its own"
            raise LoraStateError(problem, "It can only act alone")

    def _before(self, chosen: Sequence[Adapter]) -> _Before:
        touched = {weight for adapter in (*self._acting, *chosen) for weight in adapter.beside}
        sets = [self._sets[adapter.key, slot] for slot, adapter in enumerate(self._acting)]
        return _Before(
            self._acting,
            self.strengths,
            [parts.values() for parts in sets],
            [adapter.beside for adapter in self._acting],
            {weight: host_copy(self.base.weights[weight]) for weight in touched},
            self._originals,
            self.base.flags(),
        )

    def _stow(self, before: _Before) -> None:
        """Puts the values of those that act on the shelf, and the base weights back."""
        for adapter, values in zip(before.acting, before.values, strict=True):
            adapter.values = values
            adapter.beside = {weight: before.weights[weight] for weight in adapter.beside}
        self._give_weights(self._originals)
        self._originals = {}

    def _mount_these(self, chosen: Sequence[Adapter], sets: Sequence[PartSet], strengths: Strengths) -> None:
        """Gives parts their values, layers their parts and base weights what is the adapters' own."""
        for adapter, parts in zip(chosen, sets, strict=True):
            if adapter.values is not None:
                parts.assign(adapter.values)
        own = {weight: value for adapter in chosen for weight, value in adapter.beside.items()}
        others = self._mount.put([adapter.key for adapter in chosen], sets, strengths)
        if others or own or self.base.trained():
            self.base.freeze({path for parts in sets for path in parts.parts})
        self._originals = {weight: host_copy(self.base.weights[weight]) for weight in own}
        self._give_weights(own)
        self.base.unfreeze(own)
        self._acting, self.strengths = tuple(chosen), strengths
        for adapter in chosen:
            adapter.values = None

    def _go_back(self, before: _Before) -> None:
        self._mount.take_off()
        self._acting, self.strengths, self._originals = before.acting, before.strengths, before.originals
        for slot, (adapter, values, beside) in enumerate(zip(before.acting, before.values, before.beside, strict=True)):
            adapter.values, adapter.beside = None, beside
            if values is not None:
                self._sets[adapter.key, slot].assign(values)
        sets = [self._sets[adapter.key, slot] for slot, adapter in enumerate(before.acting)]
        self._mount.put([adapter.key for adapter in before.acting], sets, before.strengths)
        self._give_weights(before.weights)
        before.flags.restore()

    def _give_weights(self, values: Weights) -> None:
        for name, value in values.items():
            variable = self.base.weights[name]
            variable.assign(keras.ops.convert_to_tensor(value, dtype=variable.dtype))


def strength_matrix(
    rows: Sequence[str | Mapping[str, float] | None],
) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Returns the adapters that some rows of a batch name, and how strongly each acts in each row."""
    mixes = [{row: 1.0} if isinstance(row, str) else dict(row or {}) for row in rows]
    for name, strength in (pair for mix in mixes for pair in mix.items()):
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not math.isfinite(strength):
            raise LoraConfigError("LoRA adapters", f"strength of {name!r}", strength, "a finite number")
    names = list(dict.fromkeys(name for mix in mixes for name in mix))
    return names, np.array([[mix.get(name, 0.0) for name in names] for mix in mixes], "float32")


def _count(variables: Any) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)
