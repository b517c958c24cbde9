"""Calls with chosen adapters: how they choose, and what must hold before they compute."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import keras

from vertebra._keras.internals import all_layers
from vertebra._lora.choices.active import (
    ActiveAdapters,
    choosing,
    chosen_for,
    has_blocks,
    innermost_blocks,
    lost_choice,
)
from vertebra._lora.choices.call_lock import call_lock
from vertebra._lora.choices.choice import choose
from vertebra._lora.choices.strengths import chosen_strengths
from vertebra._lora.control import AdapterControl
from vertebra._lora.state import adapters_of, require_adapters
from vertebra.errors import LoraStateError


@contextlib.contextmanager
def rows(model: Any, choice: Any) -> Iterator[None]:
    """Chooses adapters for the calls within a block; `vertebra.lora.rows` documents it."""
    owner = owner_of(model)
    with call_lock(owner).calling():
        active = _chosen(owner, choice)
    with choosing(owner, active):
        yield


@contextlib.contextmanager
def calling_with(model: Any, choice: Any) -> Iterator[None]:
    """Chooses adapters for one call, and keeps them from changing until it has computed."""
    owner = owner_of(model)
    with call_lock(owner).calling(), choosing(owner, _chosen(owner, choice)):
        yield


@contextlib.contextmanager
def reading(model: Any) -> Iterator[None]:
    """Keeps a model unchanged while it is saved or described, as it rests: a choice of this thread does not count."""
    with call_lock(model).reading(), choosing(model, None):
        yield


@contextlib.contextmanager
def changing(model: Any) -> Iterator[None]:
    """Keeps calls of the model out while its adapters change; a choice of this thread does not count meanwhile."""
    with call_lock(model).changing(), choosing(model, None):
        yield


def owner_of(model: Any) -> Any:
    """Returns the model whose adapters calls of a model choose from: the model itself, or the one below that has any.

    Raises:
        LoraStateError: several models below have adapters.
    """
    if adapters_of(model) is not None:
        return model
    states = {id(layer.state): layer.state for layer in _layers(model) if isinstance(layer, AdapterControl)}
    owners = [owner for state in states.values() if (owner := state.model()) is not None]
    if len(owners) > 1:
        names = ", ".join(repr(owner.name) for owner in owners)
        problem = f"Several models within {model.name!r} have LoRA adapters: {names}"
        raise LoraStateError(problem, "Choose among the adapters of each, around the call: with lora.rows(model, ...)")
    return owners[0] if owners else model


def check_call(model: Any, inputs: Any) -> None:
    """Raises LoraStateError if a call of a model cannot compute with the adapters that were chosen for it."""
    if has_blocks() and (active := chosen_for(weakref.ref(model))) is not None:
        _check(model, active)
        if active.by_rows:
            active.check_rows(_batch(inputs))


def check_compiled(model: Any, inputs: Any) -> None:
    """Does the same for a compiled function, whose layers are not called and check nothing.

    Adapters may have been chosen from a model whose layers this one shares.
    """
    if not has_blocks():
        return
    check_call(model, inputs)
    for block in innermost_blocks():
        owner = block.model()
        if block.active is None or owner is None or owner is model:
            continue
        try:
            _check(owner, block.active)
        except LoraStateError:
            if _share_layers(owner, model):
                raise


def chosen_variables(model: Any) -> list[Any]:
    """Returns the variables of the choices that a call follows; `vertebra.lora.chosen_variables` documents it."""
    if not has_blocks():
        return []
    choices = [block.active for block in innermost_blocks() if block.active is not None]
    if not choices:
        return []
    shown = {id(variable) for variable in model.variables}
    choices.sort(key=_number)  # blocks may be in either order
    return [variable for active in choices for variable in active.variables if id(variable) in shown]


def _chosen(owner: Any, choice: Any) -> ActiveAdapters:
    return choose(require_adapters(owner), *chosen_strengths(choice))


def _number(active: ActiveAdapters) -> int:
    return active.chosen_from.number if active.chosen_from else -1


def _check(owner: Any, active: ActiveAdapters) -> None:
    found = adapters_of(owner)
    if found is None:
        raise lost_choice(active)
    found.state.check_choice(active)


def _batch(inputs: Any) -> int | None:
    """Returns the number of rows of the inputs; a single row may stand for all rows in some of them."""
    shapes = [leaf.shape for leaf in keras.tree.flatten(inputs) if getattr(leaf, "shape", ())]
    sizes = [shape[0] for shape in shapes]
    return None if not sizes or None in sizes else max(sizes)


def _share_layers(one: Any, other: Any) -> bool:
    layers = {id(layer) for layer in _layers(one)}
    return any(id(layer) in layers for layer in _layers(other))


def _layers(model: Any) -> list[Any]:
    return all_layers(model) if isinstance(model, keras.Layer) else []
