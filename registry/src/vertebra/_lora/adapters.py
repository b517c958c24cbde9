"""The adapters of a model: all that it has, by name, and those that act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from vertebra._lora.base import Base
from vertebra._lora.hooks import Control, Hook, hooks_for, refuse_config
from vertebra._lora.parts import PartSet, Values, build_parts, host_copy
from vertebra._lora.plan import AdapterPlan
from vertebra._lora.sites import site_of
from vertebra.errors import LoraStateError, close_names
from vertebra.specs import LoraReceipt

_ATTRIBUTE = "_lora_adapters"


@dataclass(slots=True)
class Adapter:
    """An adapter of a model."""

    name: str
    plan: AdapterPlan
    base: str | None
    """Fingerprint of the kernels that it was trained beside, or None if nobody knows."""
    values: Values | None
    """Values of its variables while it does not act; while it does, its parts have them."""
    beside: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    """Values of the base weights that are its own, by weight, while it does not act."""
    key: str = field(init=False)
    """The same for all adapters of the same plan."""

    def __post_init__(self) -> None:
        self.key = self.plan.key()


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
        self.active: tuple[str, ...] = ()
        """Names of those that act, in the order of their strengths."""
        self.strengths: np.ndarray[Any, Any] | None = None
        """How strongly each acts, of shape `(active,)` or `(rows, active)`; None means one that acts with 1."""
        self.merged: list[tuple[Any, np.ndarray[Any, Any]]] | None = None
        """Variables with the values they had before merging; None if nothing is merged."""
        self._sets: dict[tuple[str, int], PartSet] = {}
        self._mounted: tuple[str, ...] = ()
        self._shape: tuple[int, ...] | None = None
        self._control: Any = None
        self._hooks: dict[str, Hook] = {}
        self._originals: dict[str, np.ndarray[Any, Any]] = {}
        self._thawed = False
        self._refusing: list[Any] = []

    # === What there is ===

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
        return self._sets[self.known[name].key, slot]

    def parts_for(self, adapter: Adapter) -> PartSet | None:
        """Returns the parts that an adapter would use if it acted alone, if another of the same plan had them made."""
        return self._sets.get((adapter.key, 0))

    def values_of(self, name: str) -> Values:
        """Returns the values of an adapter's variables."""
        parts, kept = self.parts_of(name), self.known[name].values
        return parts.values() if parts is not None else (kept or {})

    def beside_of(self, name: str) -> dict[str, np.ndarray[Any, Any]]:
        """Returns the values of base weights that are an adapter's own: all that train beside it now, if it acts."""
        if name not in self.active or self.merged is not None:
            return self.known[name].beside
        return {weight: host_copy(self.base.weights[weight]) for weight in self.beside_names(name)}

    def beside_names(self, name: str) -> list[str]:
        """Returns the names of these weights."""
        acts = name in self.active and self.merged is None
        return list(dict.fromkeys([*self.known[name].beside, *(self.base.trained() if acts else [])]))

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
            trained=tuple(adapter.beside),
            unused=tuple(unused),
        )

    # === What changes ===

    def add(self, adapter: Adapter, parts: PartSet) -> None:
        """Takes an adapter up and makes it the one that acts; its parts may have values already."""
        self.require_unmerged()
        if self._sets.setdefault((adapter.key, 0), parts) is not parts and adapter.values is None:
            adapter.values = parts.values()  # another adapter of the same plan has its parts on the layers
        self._adopt()
        self.known[adapter.name] = adapter
        try:
            self.act([adapter.name])
        except BaseException:
            del self.known[adapter.name]
            self._abandon()
            raise

    def exchange(self, adapter: Adapter) -> None:
        """Gives an adapter other values and other base weights of its own, and makes it the one that acts."""
        former = self.known[adapter.name]
        kept = Adapter(former.name, former.plan, former.base, self.values_of(former.name), self.beside_of(former.name))
        self.act([])
        former.values, former.beside, former.base = adapter.values, adapter.beside, adapter.base
        try:
            self.act([adapter.name])
        except BaseException:
            former.values, former.beside, former.base = kept.values, kept.beside, kept.base
            self.act([adapter.name])
            raise

    def act(self, names: Sequence[str], strengths: np.ndarray[Any, Any] | None = None) -> None:
        """Makes some adapters act, and no others.

        Raises:
            LoraStateError: what is merged must be unmerged first, base weights were made trainable that belong to no
                adapter, or several adapters would bring base weights of their own.
        """
        self.require_unmerged()
        chosen = [self.get(name) for name in names]
        self._check_beside(chosen)
        sets = [self._set(adapter, slot) for slot, adapter in enumerate(chosen)]
        before = self.active, self.strengths
        self._stow()
        try:
            self._mount(chosen, sets, strengths)
        except BaseException:
            self._unmount()
            former = [self.known[name] for name in before[0]]
            self._mount(former, [self._set(adapter, slot) for slot, adapter in enumerate(former)], before[1])
            raise

    def remove(self, name: str) -> None:
        """Gives an adapter up; the model is what it was before if it was the last one."""
        self.require_unmerged()
        if name in self.active:
            self.act([other for other in self.active if other != name] if self.strengths is None else [])
        key = self.known.pop(name).key
        if all(adapter.key != key for adapter in self.known.values()):
            self._sets = {place: parts for place, parts in self._sets.items() if place[0] != key}
        self._abandon()

    def unmount(self) -> None:
        """Takes the parts off the layers, as when they were merged; those that act keep their values on the shelf."""
        self._stow()
        self._unmount()

    def mount_again(self) -> None:
        """Puts the parts back after `unmount`."""
        chosen = [self.known[name] for name in self.active]
        self._mount(chosen, [self._set(adapter, slot) for slot, adapter in enumerate(chosen)], self.strengths)

    def forget(self) -> None:
        """Gives all adapters up; kernels stay as they are."""
        self._unmount()
        self.known.clear()
        self._abandon()

    def require_unmerged(self) -> None:
        """Raises LoraStateError while adapters are merged."""
        if self.merged is not None:
            raise LoraStateError(f"Adapters are merged ({', '.join(self.active)})", "Call unmerge_lora() first")

    # === How ===

    def _adopt(self) -> None:
        if adapters_of(self.model) is None:
            setattr(self.model, _ATTRIBUTE, self)

    def _abandon(self) -> None:
        if not self.known and adapters_of(self.model) is self:
            self._unmount()
            self.base.restore()
            delattr(self.model, _ATTRIBUTE)

    def _set(self, adapter: Adapter, slot: int) -> PartSet:
        place = adapter.key, slot
        if place not in self._sets:
            sites = {path: site_of(self.base.layers[path]) for path in adapter.plan.layers}
            self._sets[place] = build_parts(adapter.plan, sites, slot)
        return self._sets[place]

    def _check_beside(self, chosen: Sequence[Adapter]) -> None:
        own = {weight for name in self.active for weight in self.known[name].beside}
        strays = [weight for weight in self.base.trained() if weight not in own] if self.active else []
        if strays and [adapter.name for adapter in chosen] != list(self.active):
            problem = f"These base weights were made trainable beside the adapter: {', '.join(strays)}"
            raise LoraStateError(problem, "Make them part of it from the start, with enable_lora(..., train=[...])")
        bringing = [adapter.name for adapter in chosen if adapter.beside]
        if bringing and len(chosen) > 1:
            problem = f"Adapter {bringing[0]!r} brings base weights of its own"
            raise LoraStateError(problem, "It can only act alone")

    def _stow(self) -> None:
        """Puts the values of those that act on the shelf, and the base weights back."""
        weights = self.base.weights
        for name in self.active:
            adapter, parts = self.known[name], self.parts_of(name)
            if parts is not None:
                adapter.values = parts.values()
            adapter.beside = {weight: host_copy(weights[weight]) for weight in adapter.beside}
        for weight, value in self._originals.items():
            weights[weight].assign(value)
        self._originals = {}

    def _mount(
        self, chosen: Sequence[Adapter], sets: Sequence[PartSet], strengths: np.ndarray[Any, Any] | None
    ) -> None:
        """Gives parts their values and layers their parts; only the first where the layers have these parts already."""
        for adapter, parts in zip(chosen, sets, strict=True):
            if adapter.values is not None:
                parts.assign(adapter.values)
        keys = tuple(adapter.key for adapter in chosen)
        shape = None if strengths is None else strengths.shape
        another = keys != self._mounted or shape != self._shape
        if another:
            self._remount(keys, sets, strengths)
        elif strengths is not None:
            self._control.strengths.assign(strengths)
        beside = any(adapter.beside for adapter in chosen)
        if another or beside or self._thawed:
            self.base.freeze({path for parts in sets for path in parts.parts})
        self._thawed = beside
        self.active, self.strengths = tuple(adapter.name for adapter in chosen), strengths
        for adapter in chosen:
            self._take_weights(adapter)
            adapter.values = None

    def _remount(self, keys: tuple[str, ...], sets: Sequence[PartSet], strengths: Any) -> None:
        self._unmount()
        if not sets:
            return
        self._control, self._shape = Control(keys, strengths), None if strengths is None else strengths.shape
        self._hooks = hooks_for(self.base.layers, sets, self._control)
        for hook in self._hooks.values():
            hook.attach()
        self._mounted = keys
        self._tell_holders()
        self.model._post_build()  # torch keeps a list of parameters of its own

    def _tell_holders(self) -> None:
        """What was compiled knows nothing of the parts, and a layer's config cannot hold them."""
        holders = {prefix for path in self._hooks for prefix in _prefixes(path)}
        for layer in [self.model, *(self.base.layers[path] for path in sorted(holders))]:
            if isinstance(layer, keras.Model):
                layer.train_function = layer.test_function = layer.predict_function = None
            if layer is not self.model:
                layer.get_config = refuse_config
                self._refusing.append(layer)

    def _unmount(self) -> None:
        for hook in self._hooks.values():
            hook.detach()
        for layer in self._refusing:
            vars(layer).pop("get_config", None)
        if self._hooks:
            self.base.freeze(())
            self.model._post_build()
        self._hooks, self._refusing, self._mounted, self._shape, self._control = {}, [], (), None, None

    def _take_weights(self, adapter: Adapter) -> None:
        weights = self.base.weights
        for weight, value in adapter.beside.items():
            self._originals[weight] = host_copy(weights[weight])
            weights[weight].assign(keras.ops.convert_to_tensor(value, dtype=weights[weight].dtype))
        self.base.unfreeze(adapter.beside)


def strength_matrix(
    rows: Sequence[str | Mapping[str, float] | None],
) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Returns the adapters that some rows of a batch name, and how strongly each acts in each row."""
    mixes = [{row: 1.0} if isinstance(row, str) else dict(row or {}) for row in rows]
    names = list(dict.fromkeys(name for mix in mixes for name in mix))
    return names, np.array([[mix.get(name, 0.0) for name in names] for mix in mixes], "float32")


def _prefixes(path: str) -> list[str]:
    """Returns the path of a layer, and of the layers that hold it."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _count(variables: Any) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)
