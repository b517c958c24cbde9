"""Names a model's weights by the names of the layers that hold them, from the outermost layer to the innermost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra._keras.internals import all_layers, child_layers, tracked_weights
from vertebra.errors import PresetConfigError


def layer_paths(model: Any) -> dict[str, Any]:
    """Returns every layer below a model that has weights, by path.

    Keras's own `variable.path` depends on the name scope in which the model was built; these paths do not.

    Raises:
        PresetConfigError: two layers in the same parent layer share a name, so a file could not tell them apart.
    """
    layers: dict[str, Any] = {}
    _walk(model, "", layers, set())
    return layers


def weight_names(model: Any) -> dict[str, Any]:
    """Returns every weight below a model by name, without state such as random seeds."""
    return weights_in(layer_paths(model))


def weights_in(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns every weight by name, from the result of `layer_paths`."""
    named: dict[str, Any] = {}
    for path, layer in layers.items():
        for variable in own_weights(layer):
            _add(named, f"{path}/{variable.name}", variable)
    return named


def own_weights(layer: Any) -> list[Any]:
    """Returns the weights that a layer holds directly, not through another layer."""
    own = {id(variable): variable for variable in tracked_weights(layer)}
    inner = {id(variable) for child in child_layers(layer) for variable in child.weights} if own else set()
    return [variable for identity, variable in own.items() if identity not in inner]


def _walk(layer: Any, prefix: str, layers: dict[str, Any], seen: set[int]) -> None:
    for child in child_layers(layer):
        if getattr(child, "holds_state", False):
            continue  # state is never saved
        if id(child) not in seen:  # a shared layer has the path of the first layer that holds it
            seen.add(id(child))
            path = f"{prefix}{child.name}"
            if any(tracked_weights(inner) for inner in all_layers(child)):
                _add(layers, path, child)
            _walk(child, f"{path}/", layers, seen)


def _add(named: dict[str, Any], name: str, value: Any) -> None:
    if name in named:
        raise PresetConfigError(f"Layer {name!r}", "two layers or weights have this name", "Give each its own name")
    named[name] = value
