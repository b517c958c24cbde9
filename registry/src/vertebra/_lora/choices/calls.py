"""Calls with chosen adapters: choosing, and the checks before a call computes."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from vertebra._discovery import runtimes
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
    """Chooses adapters for the calls within a block; see `vertebra.lora.rows`."""
    owner = owner_of(model)
    with call_lock(owner).calling():
        active = _chosen(owner, choice)
    with choosing(owner, active):
        yield


@contextlib.contextmanager
def calling_with(model: Any, choice: Any) -> Iterator[None]:
    """Chooses adapters for one call, and prevents changes of them during it."""
    owner = owner_of(model)
    with call_lock(owner).calling(), choosing(owner, _chosen(owner, choice)):
        yield


@contextlib.contextmanager
def reading(model: Any) -> Iterator[None]:
    """Prevents changes of a model while it is saved or described; choices of this thread are ignored meanwhile.

    Raises:
        ReplacedWeightsError: the model's variables do not have the values of its weights.
    """
    runtimes.bind().check_weights(model)
    with call_lock(model).reading(), choosing(model, None):
        yield


@contextlib.contextmanager
def changing(model: Any) -> Iterator[None]:
    """Blocks calls of a model while its adapters change; choices of this thread are ignored meanwhile.

    Raises:
        ReplacedWeightsError: the model's variables do not have the values of its weights.
    """
    runtimes.bind().check_weights(model)
    with call_lock(model).changing(), choosing(model, None):
        yield


@contextlib.contextmanager
def replacing_weights(model: Any) -> Iterator[None]:
    """Blocks calls of a model while its weights are replaced.

    Raises:
        LoraStateError: adapters are merged, so unmerging would discard the new weights.
    """
    with call_lock(model).changing():
        adapters = adapters_of(model)
        if adapters is not None:
            adapters.require_unmerged()
        yield


@contextlib.contextmanager
def replacing_variables(model: Any) -> Iterator[None]:
    """Blocks calls of a model while the values of its variables are replaced.

    Raises:
        LoraStateError: as `replacing_weights`.
        ReplacedWeightsError: the model does not compute with its variables.
    """
    runtimes.bind().check_weights(model)
    with replacing_weights(model):
        yield


def owner_of(model: Any) -> Any:
    """Returns the model that calls of a model choose adapters from: the model itself, or its inner model with adapters.

    Raises:
        LoraStateError: several inner models have adapters.
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
    """Raises LoraStateError if a call of a model cannot use the adapters that were chosen for it."""
    if has_blocks() and (active := chosen_for(weakref.ref(model))) is not None:
        _check(model, active)
        if active.by_rows:
            active.check_rows(_batch(inputs))


def check_compiled(model: Any, inputs: Any) -> None:
    """As `check_call`, for a compiled function, which does not run the checks of its layers.

    Adapters may have been chosen from another model that shares layers with this one.
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
    """Returns the variables of the choices that apply to a call; see `vertebra.lora.chosen_variables`."""
    if not has_blocks():
        return []
    choices = [block.active for block in innermost_blocks() if block.active is not None]
    if not choices:
        return []
    shown = {id(variable) for variable in model.variables}
    choices.sort(key=_number)  # the order of blocks may vary
    return [variable for active in choices for variable in active.variables if id(variable) in shown]


def refuse_symbolic(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises LoraStateError for a symbolic call: a model built from it could not hold the choice of adapters."""
    if any(isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten((args, dict(kwargs)))):
        problem = "Adapters were chosen in a symbolic call, which only builds a model"
        raise LoraStateError(problem, "Choose them when calling that model: with backbone.lora_rows(...): ...")


def _chosen(owner: Any, choice: Any) -> ActiveAdapters:
    return choose(require_adapters(owner), *chosen_strengths(choice))


def _number(active: ActiveAdapters) -> int:
    return active.chosen_from.number if active.chosen_from else -1


def _check(owner: Any, active: ActiveAdapters) -> None:
    adapters = adapters_of(owner)
    if adapters is None:
        raise lost_choice(active)
    adapters.state.check_choice(active)


def _batch(inputs: Any) -> int | None:
    """Returns the number of rows of the inputs: the largest, as an input with one row broadcasts."""
    shapes = [leaf.shape for leaf in keras.tree.flatten(inputs) if getattr(leaf, "shape", ())]
    sizes = [shape[0] for shape in shapes]
    return None if not sizes or None in sizes else max(sizes)


def _share_layers(one: Any, other: Any) -> bool:
    layers = {id(layer) for layer in _layers(one)}
    return any(id(layer) in layers for layer in _layers(other))


def _layers(model: Any) -> list[Any]:
    return all_layers(model) if isinstance(model, keras.Layer) else []
