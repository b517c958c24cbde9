"""Tables: adapters of one plan, stacked, so that each row of a batch takes the matrices of its own adapter by number.

Without them, a batch would pass through every adapter that any of its rows has chosen.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from vertebra._keras.internals import autocast, is_autocast
from vertebra._lora.choices.resident import ResidentAdapter
from vertebra.strategies import LoraStrategy


@dataclass(frozen=True, slots=True)
class StackedLayer:
    """The factors of several adapters for one layer."""

    a: Any
    """Variable of shape `(adapters, in, rank)`."""
    b: Any
    """Variable of shape `(adapters, rank, out)`."""
    view: Any
    scale: float

    def change(self, inputs: Any, outputs: Any, numbers: Any, strengths: Any) -> Any:
        """Returns the change of the layer's outputs.

        Args:
            inputs: The layer's inputs.
            outputs: The layer's outputs before its activation.
            numbers: The adapter of each row by its number, shape `(rows,)`, int32.
            strengths: The strength of each row, shape `(rows,)`.
        """
        with autocast(None):  # the rows are cast, and not the table
            a, b = (keras.ops.take(factor.value, numbers, axis=0) for factor in (self.a, self.b))
        hidden = self.view.down_rows(inputs, keras.ops.cast(a, outputs.dtype))
        weights = keras.ops.reshape(strengths * self.scale, (-1, *(1,) * (len(hidden.shape) - 1)))
        return self.view.up_rows(hidden * keras.ops.cast(weights, hidden.dtype), keras.ops.cast(b, outputs.dtype))


@dataclass(frozen=True, slots=True)
class AdapterTable:
    """Adapters of one plan."""

    adapters: Mapping[str, ResidentAdapter]
    """The adapters by name; their order is that of the numbers."""
    layers: Mapping[str, StackedLayer]
    """The stacked layers, by path of the adapted layer."""

    @property
    def variables(self) -> list[Any]:
        """The variables of all layers."""
        return [factor for layer in self.layers.values() for factor in (layer.a, layer.b)]

    def number(self, name: str) -> int:
        """Returns the number of an adapter."""
        return list(self.adapters).index(name)


class AdapterTables:
    """The tables of one model, by the key of the plan; each has the adapters that rows have chosen so far."""

    def __init__(self) -> None:
        self._tables: dict[str, AdapterTable] = {}
        self._lock = threading.Lock()

    def table(self, key: str, chosen: Mapping[str, ResidentAdapter]) -> AdapterTable | None:
        """Returns a table with the chosen adapters of a plan, or None if it has no use or the plan cannot be stacked.

        It has a use from the second adapter on.
        """
        with self._lock:
            known = self._tables.get(key)
            if known is not None and all(_holds(known, name, adapter) for name, adapter in chosen.items()):
                return known
            adapters = {**(known.adapters if known is not None else {}), **chosen}
            factors = _factors(next(iter(chosen.values()))) if len(adapters) > 1 else None
            if factors is None:
                return None
            self._tables[key] = _stacked(adapters, factors)
            return self._tables[key]

    def forget(self, key: str) -> None:
        """Drops the table of a plan, as when one of its adapters is unloaded."""
        with self._lock:
            self._tables.pop(key, None)


def _holds(table: AdapterTable, name: str, adapter: ResidentAdapter) -> bool:
    """Returns whether a table has an adapter with its current values; an active one may have trained meanwhile."""
    known = table.adapters.get(name)
    if known is None or known is adapter:
        return known is not None
    pairs = zip(known.flat(), adapter.flat(), strict=True)
    return all(one.value is other.value or bool(keras.ops.all(one.value == other.value)) for one, other in pairs)


def _factors(adapter: ResidentAdapter) -> dict[str, tuple[str, str]] | None:
    """Returns the names of the two variables that are the factors of each layer, or None if a layer has other ones."""
    found = {}
    for path, layer in adapter.layers.items():
        strategy = layer.strategy
        if not strategy.is_low_rank or type(strategy).delta is not LoraStrategy.delta or not layer.view.takes_rows:
            return None
        names = {id(variable): name for name, variable in adapter.variables.get(path, {}).items()}
        a, b = (names.get(id(factor)) for factor in strategy.factors(layer, layer.view))
        if a is None or b is None:
            return None
        found[path] = (a, b)
    return found


def _stacked(adapters: Mapping[str, ResidentAdapter], factors: Mapping[str, tuple[str, str]]) -> AdapterTable:
    """Returns a table of adapters.

    The number of rows is a power of two, so that functions are compiled again for few numbers of adapters.
    """
    residents, first = list(adapters.values()), next(iter(adapters.values()))
    size = 1 << (len(residents) - 1).bit_length()
    layers = {}
    for path, names in factors.items():
        a, b = (_stack([resident.variables[path][name] for resident in residents], size) for name in names)
        layers[path] = StackedLayer(a, b, first.layers[path].view, first.layers[path].scale)
    return AdapterTable(dict(adapters), layers)


def _stack(variables: Sequence[Any], size: int) -> Any:
    values = [variable.value for variable in variables]
    values += values[:1] * (size - len(values))
    like = variables[0]
    dtype = str(like.dtype)
    return keras.Variable(
        keras.ops.stack(values), dtype=dtype, trainable=False, autocast=is_autocast(like), name=like.name
    )
