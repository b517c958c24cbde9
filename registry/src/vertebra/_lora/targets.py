"""Targets: from names, globs and roles to layers; each target must match at least one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from vertebra._weights.naming import layer_paths
from vertebra.errors import LoraTargetError

ALL_LINEAR = "all-linear"

Roles = Mapping[str, Sequence[str]]


def adaptable_layers(model: Any) -> dict[str, Any]:
    """Returns the layers of a model that adapters can be attached to, by path."""
    from vertebra._lora.sites import is_adaptable  # not at the top: plans are read without a framework

    return {path: layer for path, layer in layer_paths(model).items() if is_adaptable(layer)}


def roles_of(model: Any) -> Roles:
    """Returns the globs of each role that a model's architecture declares; a model of no plugin declares none."""
    roles: Roles = getattr(model, "lora_roles", {})
    return roles


def find_targets(model: Any, targets: Sequence[str], roles: Roles) -> dict[str, Any]:
    """Finds the layers that targets mean.

    Args:
        model: The model.
        targets: Layer names, paths, globs of paths, roles (`attention.query`, or `attention` for all below it), or
            `all-linear` for every layer with a kernel that is not an embedding.
        roles: Globs of paths for each role of the architecture.

    Raises:
        LoraTargetError: a target matches nothing that can be adapted, or is the name of layers of which some cannot be.
    """
    candidates = adaptable_layers(model)
    found = _find(model, targets, roles, candidates)
    names = {target for target in targets if not _is_role(target, roles)}
    _check_whole(model, names, candidates)
    return found


def find_layers(model: Any, targets: Sequence[str], roles: Roles) -> dict[str, Any]:
    """Finds layers of any kind, by the same targets.

    Raises:
        LoraTargetError: a target matches nothing.
    """
    return _find(model, targets, roles, layer_paths(model))


def match(target: str, candidates: Mapping[str, Any], roles: Roles) -> set[str]:
    """Returns the paths of the candidates that a target means."""
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


def _find(model: Any, targets: Sequence[str], roles: Roles, candidates: Mapping[str, Any]) -> dict[str, Any]:
    names = {layer.name for layer in candidates.values()}
    if isinstance(targets, str):
        raise LoraTargetError(targets, f"expected a list, such as [{targets!r}]", ())
    if not targets:
        raise LoraTargetError(targets, "expected a list of at least one target", names | {ALL_LINEAR})
    found: set[str] = set()
    for target in targets:
        if not isinstance(target, str):
            raise LoraTargetError(target, "expected the name of a layer", names)
        matched = match(target, candidates, roles)
        if not matched:
            raise LoraTargetError(target, _problem(model, target, roles), names | set(roles) | {ALL_LINEAR})
        found |= matched
    return {path: layer for path, layer in candidates.items() if path in found}


def _is_role(target: str, roles: Roles) -> bool:
    return any(role == target or role.startswith(f"{target}.") for role in roles)


def _check_whole(model: Any, names: set[str], candidates: Mapping[str, Any]) -> None:
    """A name is meant for all layers that have it; a glob or role, for those that can be adapted."""
    for path, layer in layer_paths(model).items():
        if layer.name in names and path not in candidates:
            raise LoraTargetError(layer.name, f"it also means {path!r}, which cannot be adapted", candidates)


def _problem(model: Any, target: str, roles: Roles) -> str:
    """Says why a target matches no layer that can be adapted."""
    layers = layer_paths(model)
    matched = match(target, layers, roles)
    modes = {mode for path in matched if (mode := getattr(layers[path], "quantization_mode", None))}
    if modes:
        return f"its layers are quantised as {', '.join(sorted(modes))}, beside which no adapter can be put"
    return "it matches a layer that cannot be adapted" if matched else "it matches no layer"
