"""Helpers for plugins that wrap the Keras models of another library in backbones."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

from vertebra._keras.internals import child_layers, is_saved, saved_attributes, snake_case, tracked_weights
from vertebra._weights.layer_paths import weight_names
from vertebra.translations import TensorRule


def name_layers(model: Any) -> None:
    """Gives the layers below a model names that depend on its structure alone, each another one than its siblings.

    Keras numbers layers without a name in the order in which a process creates them, so that the names of weights
    would differ between processes. Here they are numbered in the order in which their parent holds them.
    """
    _name_children(model, set())


def weight_rules(build: Callable[[], Any]) -> dict[str, TensorRule]:
    """Returns the rule of each weight of a model, with its name in Keras's weights files.

    Args:
        build: Builds the model; its weights get no values.
    """
    from vertebra._weights.abstract import abstract_build

    with abstract_build():
        model = build()
    names = {id(variable): name for name, variable in weight_names(model).items()}
    numbered = {
        id(variable): f"{path}/vars/{number}"
        for path, layer in _saved_layers(model).items()
        for number, variable in enumerate(tracked_weights(layer))
    }
    return {name: TensorRule(numbered[identity]) for identity, name in names.items() if identity in numbered}


def _saved_layers(model: Any) -> dict[str, Any]:
    """Returns a model and every layer below it, by the names of their groups in Keras's weights files."""
    import keras

    found: dict[str, Any] = {}
    seen: set[int] = set()  # of layers alone: the id of a list that a property returned may be that of the next one

    def visit(held: Any, path: str, around: tuple[int, ...] = ()) -> None:
        if id(held) in seen or id(held) in around:
            return
        if is_saved(held):
            seen.add(id(held))
            found[path] = held
            members, around = saved_attributes(held), ()
        else:
            members, around = _numbered(held), (*around, id(held))
        for name, member in members:
            if is_saved(member) or isinstance(member, list | dict | tuple):
                visit(member, f"{path}/{name}" if path else name, around)

    visit(model, "")
    return {path: layer for path, layer in found.items() if isinstance(layer, keras.layers.Layer)}


def _numbered(container: Any) -> list[tuple[str, Any]]:
    """Returns the layers and containers in a container, by the names that Keras's files give them."""
    values = container.values() if isinstance(container, dict) else container
    named: list[tuple[str, Any]] = []
    counts: Counter[str] = Counter()
    for value in values:
        if is_saved(value) or isinstance(value, list | dict | tuple):
            kind = snake_case(type(value).__name__) if is_saved(value) else "container"
            named.append((f"{kind}_{counts[kind]}" if counts[kind] else kind, value))
            counts[kind] += 1
    return named


def _name_children(layer: Any, seen: set[int]) -> None:
    children = [child for child in child_layers(layer) if id(child) not in seen and child.weights]
    seen |= set(map(id, children))
    used: set[str] = set()
    for child in sorted(children, key=_is_numbered):  # names that an author chose come first
        name = snake_case(type(child).__name__) if _is_numbered(child) else child.name
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        own = next(one for one in itertools.chain([name], numbered) if one not in used)
        used.add(own)
        child.name = own
    for child in children:
        _name_children(child, seen)


def _is_numbered(layer: Any) -> bool:
    """Says whether Keras made a layer's name: that of its class, perhaps with a number."""
    own, name = str(layer.name), snake_case(type(layer).__name__)
    number = own.rpartition("_")[2]
    return own == name or (number.isdecimal() and own == f"{name}_{number}")
