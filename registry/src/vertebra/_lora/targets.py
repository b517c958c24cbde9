"""Targets: from names, globs and roles to layers; each target must match at least one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from vertebra._lora.sites import is_adaptable
from vertebra._weights.naming import layer_paths
from vertebra.errors import LoraTargetError

ALL_LINEAR = "all-linear"


def adaptable_layers(model: Any) -> dict[str, Any]:
    """Returns the layers of a model that adapters can be attached to, by path."""
    return {path: layer for path, layer in layer_paths(model).items() if is_adaptable(layer)}


def find_targets(model: Any, targets: Sequence[str], roles: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Finds the layers that targets mean.

    Args:
        model: The model.
        targets: Layer names, paths, globs of paths, roles (`attention.query`, or `attention` for all below it), or
            `all-linear` for every layer with a kernel that is not an embedding.
        roles: Globs of paths for each role of the architecture.

    Raises:
        LoraTargetError: a target matches nothing that can be adapted.
    """
    candidates = adaptable_layers(model)
    names = {layer.name for layer in candidates.values()}
    if isinstance(targets, str) or not targets:
        raise LoraTargetError(targets, "expected a list of at least one target", names)
    found: set[str] = set()
    for target in targets:
        if not isinstance(target, str):
            raise LoraTargetError(target, "expected the name of a layer", names)
        matched = _match(target, candidates, roles)
        if not matched:
            raise LoraTargetError(target, _problem(model, target, roles), names | set(roles) | {ALL_LINEAR})
        found |= matched
    return {path: layer for path, layer in candidates.items() if path in found}


def _match(target: str, candidates: Mapping[str, Any], roles: Mapping[str, Sequence[str]]) -> set[str]:
    if target == ALL_LINEAR:
        return {path for path, layer in candidates.items() if hasattr(layer, "kernel")}
    patterns = [
        pattern for role, globs in roles.items() if role == target or role.startswith(f"{target}.") for pattern in globs
    ]
    return {
        path
        for path, layer in candidates.items()
        if layer.name == target or any(fnmatchcase(path, pattern) for pattern in (*patterns, target))
    }


def _problem(model: Any, target: str, roles: Mapping[str, Sequence[str]]) -> str:
    """Says why a target matches no layer that can be adapted."""
    layers = layer_paths(model)
    matched = _match(target, layers, roles)
    modes = {mode for path in matched if (mode := getattr(layers[path], "quantization_mode", None))}
    if modes:
        return f"its layers are quantised as {', '.join(sorted(modes))}, and adapters go on layers of floats"
    return "it matches a layer that cannot be adapted" if matched else "it matches no layer"
