"""Targets: resolve names, globs and roles to layers; each target must match at least one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from vertebra._weights.layer_paths import layer_paths
from vertebra.errors import LoraDeclarationError, LoraTargetError

ALL_LINEAR = "all-linear"

Roles = Mapping[str, Sequence[str]]
Layers = Mapping[str, Any]
"""Layers by path."""


def roles_of(model: Any) -> Roles:
    """Returns the globs of each role that a model's class declares; other Keras models declare none.

    Raises:
        LoraDeclarationError: `lora_roles` is not a mapping from roles to tuples or lists of globs.
    """
    roles = getattr(model, "lora_roles", {})
    owner = type(model).__name__
    if not isinstance(roles, Mapping) or not all(isinstance(role, str) for role in roles):
        raise LoraDeclarationError(owner, "lora_roles", roles, "a mapping from roles to tuples of globs")
    for role, globs in roles.items():
        _check_declared(owner, f"lora_roles[{role!r}]", globs, "globs of layer paths")
    return roles


def find_targets(model: Any, targets: Sequence[str], roles: Roles, layers: Layers | None = None) -> dict[str, Any]:
    """Returns the adaptable layers that targets match, by path.

    Args:
        model: The model.
        targets: Layer names, paths, globs of paths, roles (`attention.query`, or `attention` for all below it), or
            `all-linear` for every adaptable layer except embeddings.
        roles: Globs of paths for each role of the architecture.
        layers: The layers of the model by path, or None to list them.

    Raises:
        LoraTargetError: a target matches no adaptable layer, or is the name of some layers that cannot be adapted.
        LoraDeclarationError: a role that a target names has a glob that matches no layer of the model.
    """
    layers = layer_paths(model) if layers is None else layers
    candidates = _adaptable(layers)
    matched = _find(model, targets, roles, candidates, layers)
    names = {target for target in targets if not _roles_below(target, roles)}
    _check_names(names, candidates, layers)
    return matched


def find_default_targets(model: Any, roles: Roles, layers: Layers | None = None) -> dict[str, Any]:
    """Returns the layers that the default targets of a model's class match, by path.

    Raises:
        LoraTargetError: the class has no default targets, or they match layers that cannot be adapted.
        LoraDeclarationError: `lora_targets` is not a tuple or list of targets, or one of them matches no layer.
    """
    layers = layer_paths(model) if layers is None else layers
    if not hasattr(model, "default_lora_layer_names"):
        problem = "expected a list of targets: only backbones have default targets"
        raise LoraTargetError(None, problem, {layer.name for layer in _adaptable(layers).values()})
    owner, declared = type(model).__name__, getattr(model, "lora_targets", ())
    targets = model.default_lora_layer_names() if isinstance(declared, tuple | list) else declared
    _check_declared(owner, "lora_targets", targets, "targets")
    named = [target for target in targets if target != ALL_LINEAR]  # which is right for a model without such layers
    missing = [target for target in named if not _roles_below(target, roles) and not match(target, layers, roles)]
    if missing and _declares_targets(model):
        raise LoraDeclarationError(owner, "lora_targets", targets, f"layers of the model: {missing[0]!r} matches none")
    if missing:
        problem = (
            f"{owner} declares no lora_targets, and has no layer called {missing[0]}, a default target; "
            "pass the targets as a list"
        )
        raise LoraTargetError(None, problem, {layer.name for layer in _adaptable(layers).values()})
    return find_targets(model, targets, roles, layers)


def find_layers(model: Any, targets: Sequence[str], roles: Roles, layers: Layers) -> dict[str, Any]:
    """Returns the layers of any kind that targets match, by path.

    Raises:
        LoraTargetError: a target matches no layer.
        LoraDeclarationError: a role that a target names has a glob that matches no layer of the model.
    """
    return _find(model, targets, roles, layers, layers)


def match(target: str, candidates: Mapping[str, Any], roles: Roles) -> set[str]:
    """Returns the paths of the candidates that a target matches."""
    if target == ALL_LINEAR:
        return {path for path, layer in candidates.items() if hasattr(layer, "kernel") and _is_one_map(layer)}
    patterns = [pattern for role in _roles_below(target, roles) for pattern in roles[role]]
    return {
        path
        for path, layer in candidates.items()
        if layer.name == target or any(fnmatchcase(path, pattern) for pattern in (*patterns, target))
    }


def _find(
    model: Any, targets: Sequence[str], roles: Roles, candidates: Mapping[str, Any], layers: Mapping[str, Any]
) -> dict[str, Any]:
    names = {layer.name for layer in candidates.values()}
    if isinstance(targets, str):
        raise LoraTargetError(targets, f"expected a list, such as [{targets!r}]", ())
    if not targets:
        raise LoraTargetError(targets, "expected a list of at least one target", names | {ALL_LINEAR})
    paths: set[str] = set()
    for target in targets:
        if not isinstance(target, str):
            raise LoraTargetError(target, "expected the name of a layer", names)
        _check_globs(model, _roles_below(target, roles), roles, layers)
        matched = match(target, candidates, roles)
        if not matched:
            raise LoraTargetError(target, _problem(target, roles, layers), names | set(roles) | {ALL_LINEAR})
        paths |= matched
    return {path: layer for path, layer in candidates.items() if path in paths}


def _adaptable(layers: Mapping[str, Any]) -> dict[str, Any]:
    from vertebra._lora.layers.linear_view import is_adaptable  # not at the top: plans are read without a framework

    return {path: layer for path, layer in layers.items() if is_adaptable(layer)}


def _is_one_map(layer: Any) -> bool:
    """Says whether an adaptable layer is a single linear map, as a convolution in groups is not."""
    from vertebra._lora.layers.linear_view import is_adaptable, view_of

    try:
        return not is_adaptable(layer) or view_of(layer) is not None
    except ValueError:
        return False


def _roles_below(target: str, roles: Roles) -> list[str]:
    """Returns the roles that a target names: the role itself, and all roles below it."""
    return [role for role in roles if role == target or role.startswith(f"{target}.")]


def _check_declared(owner: str, attribute: str, names: Any, expected: str) -> None:
    """Raises LoraDeclarationError unless `names` is a tuple or list of strings; a bare string is a common mistake."""
    if not isinstance(names, tuple | list) or not names or not all(isinstance(name, str) and name for name in names):
        such = f", such as ({names!r},)" if isinstance(names, str) and names else ""
        raise LoraDeclarationError(owner, attribute, names, f"a tuple of {expected}{such}")


def _check_globs(model: Any, used: Sequence[str], roles: Roles, layers: Mapping[str, Any]) -> None:
    """Raises LoraDeclarationError if a glob of a used role matches no layer: a typo would silently omit layers."""
    for role in used:
        missing = [glob for glob in roles[role] if not any(fnmatchcase(path, glob) for path in layers)]
        if missing:
            raise LoraDeclarationError(
                type(model).__name__,
                f"lora_roles[{role!r}]",
                roles[role],
                f"globs of layers that the model has: {missing[0]!r} matches none",
                "Correct the class; if only some configurations have the layer, let the constructor set "
                "self.lora_roles to the roles of this configuration",
            )


def _declares_targets(model: Any) -> bool:
    """Returns whether a class below `Backbone`, or the model itself, declares default targets."""
    names = {"lora_targets", "default_lora_layer_names"}
    of_core = __name__.partition(".")[0]
    below = [kind for kind in type(model).__mro__ if kind.__module__.partition(".")[0] != of_core]
    return bool(names & vars(model).keys()) or any(names & vars(kind).keys() for kind in below)


def _check_names(names: set[str], candidates: Mapping[str, Any], layers: Mapping[str, Any]) -> None:
    """Raises LoraTargetError if a layer name also belongs to a layer that cannot be adapted; globs and roles may."""
    for path, layer in layers.items():
        if layer.name in names and path not in candidates:
            raise LoraTargetError(layer.name, f"it also matches {path!r}, which cannot be adapted", candidates)


def _problem(target: str, roles: Roles, layers: Mapping[str, Any]) -> str:
    """Returns why a target matches no layer that can be adapted."""
    matched = match(target, layers, roles)
    modes = {mode for path in matched if (mode := getattr(layers[path], "quantization_mode", None))}
    if modes:
        return f"its layers are quantised as {', '.join(sorted(modes))}, and such layers cannot be adapted"
    return "it matches a layer that cannot be adapted" if matched else "it matches no layer"
