"""Choices: adapters for some calls alone, as data that does not change the model."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vertebra._discovery import runtimes
from vertebra._lora.choices.active import ActiveAdapters
from vertebra._lora.choices.table import AdapterTable
from vertebra._lora.control import state_variable, structure_variable
from vertebra._lora.mixing import check_mix
from vertebra._lora.state import Adapters
from vertebra.errors import LoraStateError


def choose(adapters: Adapters, names: Sequence[str], strengths: np.ndarray[Any, Any]) -> ActiveAdapters:
    """Returns a choice of adapters, with their current values.

    Args:
        adapters: The adapters of the model.
        names: Names of the chosen adapters.
        strengths: Their strengths, of shape `(adapters,)` or `(rows, adapters)`.

    Raises:
        LoraStateError: an adapter does not exist or has co-trained weights, the adapters cannot be mixed, or the
            current weights are not those of the base model.
    """
    _check(adapters, names)
    check_mix([adapters.known[name] for name in names], strengths)
    state = adapters.state
    order = sorted(
        range(len(names)), key=lambda number: adapters.known[names[number]].key
    )  # fewer structures to compile
    chosen, strengths = [names[number] for number in order], strengths[..., order]
    columns = _columns(adapters, chosen, strengths)
    layers: dict[str, list[tuple[int, Any]]] = {}
    for number, column in enumerate(columns):
        for path, layer in column.layers.items():
            layers.setdefault(path, []).append((number, layer))
    weight = state_variable("strengths", _side_by_side([column.strengths for column in columns], strengths))
    # Two inner models may have adapters of the same settings; a choice for one must not match a trace for the other.
    structure = structure_variable((f"model {state.number}", *(column.key for column in columns)))
    controls, numbers = [structure, weight], None
    if any(column.numbers is not None for column in columns):
        zeros = np.zeros(len(strengths), "int32")
        rows = [zeros if column.numbers is None else column.numbers for column in columns]
        numbers = state_variable("numbers", np.stack(rows, axis=1))
        controls.append(numbers)
    variables = [variable for column in columns for variable in column.variables]
    return ActiveAdapters(layers, weight, (*controls, *variables), state, tuple(chosen), state.losses, numbers)


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the strengths: one adapter, or a table from which each row takes its own."""

    key: str
    layers: Mapping[str, Any]
    variables: Sequence[Any]
    strengths: np.ndarray[Any, Any]
    """The strength, of shape () or `(rows,)`."""
    numbers: np.ndarray[Any, Any] | None = None
    """The number in the table of each row's adapter, shape `(rows,)`, int32."""


def _columns(adapters: Adapters, names: Sequence[str], strengths: np.ndarray[Any, Any]) -> list[_Column]:
    """Returns one column for the adapters of a plan if each row has chosen at most one of them, else one for each."""
    columns: list[_Column] = []
    for key, numbers in itertools.groupby(range(len(names)), lambda number: adapters.known[names[number]].key):
        group = list(numbers)
        residents = {names[number]: adapters.resident(names[number]) for number in group}
        own = strengths[..., group]
        is_apart = own.ndim == 2 and (np.count_nonzero(own, axis=1) <= 1).all()
        table = adapters.tables.table(key, residents) if is_apart else None
        if table is not None:
            columns.append(_column_of(table, key, list(residents), own))
            continue
        for number, resident in zip(group, residents.values(), strict=True):
            columns.append(_Column(key, resident.layers, resident.flat(), strengths[..., number]))
    return columns


def _column_of(table: AdapterTable, key: str, names: Sequence[str], strengths: np.ndarray[Any, Any]) -> _Column:
    numbers = np.array([table.number(name) for name in names], "int32")
    chosen = np.argmax(strengths != 0, axis=1)
    own = np.take_along_axis(strengths, chosen[:, None], axis=1)[:, 0]
    return _Column(f"table {key}", table.layers, table.variables, own, numbers[chosen])


def _side_by_side(columns: Sequence[np.ndarray[Any, Any]], strengths: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns columns as one matrix; without columns, one of no width."""
    return np.stack(columns, axis=-1) if columns else np.ascontiguousarray(strengths)


def _check(adapters: Adapters, names: Sequence[str]) -> None:
    adapters.require_unmerged()
    adapters.state.check_obstacle()
    for adapter in map(adapters.get, names):
        if adapter.co_trained:
            problem = f"Adapter {adapter.name!r} has co-trained base weights: {', '.join(adapter.co_trained)}"
            raise LoraStateError(problem, f"A call cannot choose it; use activate_lora({adapter.name!r})")
    if runtimes.bind().is_tracing():
        problem = "Adapters were chosen within a function that is being traced, which would make them constants of it"
        raise LoraStateError(problem, "Choose them around its calls: with backbone.lora_rows(...): function(...)")
