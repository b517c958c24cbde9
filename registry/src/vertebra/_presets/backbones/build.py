"""Builds the backbone that a preset describes, with or without values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from vertebra._discovery import backbone_classes
from vertebra._formats.checked_translation import CheckedTranslation
from vertebra._formats.description import OpenPreset, PresetDescription
from vertebra._formats.migration import installing
from vertebra._presets.backbones.arguments import check_config
from vertebra._presets.backbones.suggest_overrides import Call, load_call, suggest_overrides
from vertebra._resolve.locked_plugins import check_architecture
from vertebra._resolve.preset_folder import config_error
from vertebra._weights.match import Match
from vertebra.errors import (
    PresetClassError,
    UnknownNameError,
    VertebraError,
    WeightsMismatchError,
    exception_text,
)
from vertebra.errors.base import shown

_LONGEST_NAME = 255
"""Characters of a model's name."""


def class_of(description: PresetDescription, asked: Any = None) -> Any:
    """Returns the class of a preset, after checking the config's arguments against its constructor.

    Args:
        description: The preset.
        asked: The class that the user asked for, or None for any.

    Raises:
        PresetClassError: the preset's class is not `asked` or a subclass of it.
        PresetConfigError: the class is not installed, or an argument is unknown or has a wrong type.
    """
    check_architecture(description.folder, description.backbone)
    backbone_class = _resolve_class(description, asked)
    check_config(backbone_class, description.arguments, f"config.json of {str(description.folder.handle)!r}")
    _check_name(description)
    return backbone_class


def _check_name(description: PresetDescription) -> None:
    """Refuses the name of a model that Keras would print as it is, with characters that control a terminal."""
    name = description.arguments.get("name")
    if isinstance(name, str) and not (name.isprintable() and len(name) <= _LONGEST_NAME):
        problem = f"name is {shown(name)}, expected at most {_LONGEST_NAME} printable characters"
        raise config_error(description.folder, problem)


def _resolve_class(description: PresetDescription, asked: Any) -> Any:
    """Looks the class up by name, unless `asked` has that name: that class need not come from a plugin."""
    if asked is not None and description.backbone == asked.__name__:
        return asked
    try:
        found = backbone_classes.backbone_class(description.backbone)
    except UnknownNameError as error:
        problem = f"no installed backbone is named {description.backbone!r}"
        raise config_error(description.folder, problem, installing(description.folder, error)) from error
    if asked is not None and not issubclass(found, asked):
        raise PresetClassError(description.folder.handle, found.__name__, asked.__name__)
    return found


def build(backbone_class: Any, description: PresetDescription, overrides: dict[str, Any]) -> Any:
    """Calls a class's constructor with the arguments of the config and with overrides.

    Raises:
        PluginError: the translation of the preset's format returned no value for a required argument.
        PresetConfigError: the constructor refuses them.
    """
    if isinstance(description.translation, CheckedTranslation):
        description.translation.check_complete(description.arguments | overrides, backbone_class)
    try:
        return backbone_class.from_config(description.arguments | overrides)
    except VertebraError:
        raise
    except Exception as error:  # a constructor may raise anything for values that it does not expect
        problem = f"{backbone_class.__name__} cannot be built from it ({exception_text(error)})"
        if overrides:
            given = ", ".join(f"{name}={shown(value)}" for name, value in overrides.items())
            remedy = f"Check the arguments that replace the config's ({given}), and then the file"
            raise config_error(description.folder, problem, remedy) from error
        raise config_error(description.folder, problem) from error


def build_abstract(
    backbone_class: Any, preset: OpenPreset, overrides: dict[str, Any], call: Call = load_call, *, again: bool = False
) -> tuple[Any, dict[str, Any], Match, list[Any]]:
    """Builds a preset's backbone without values, and finds the tensor that fills each weight.

    Args:
        backbone_class: The class.
        preset: The preset.
        overrides: Arguments of the class's constructor, instead of those of the config.
        call: Returns the call or command with other overrides, for the message if those would fit.
        again: Whether the process may build the same backbone again: its structure is kept, and copied next time.

    Returns:
        The backbone, its weights by name, their tensors, and every variable that was created.

    Raises:
        PresetConfigError: the config does not build the class.
        WeightsMismatchError: some weight or tensor has no counterpart.
        PluginError: the translation of the preset's format has the wrong weights.
    """
    from vertebra._presets.backbones.structures import build_or_copy

    preset.check_layers(backbone_class, overrides)
    backbone, weights, created = build_or_copy(
        backbone_class,
        preset.description.arguments | overrides,
        partial(build, backbone_class, preset.description, overrides),
        partial(preset.admit, backbone_class.__name__, overrides),
        kept=again,
    )
    try:
        match = preset.match(weights)
    except WeightsMismatchError as error:
        if not overrides:  # the rules are those of the config's arguments
            preset.check_rules(weights)
        shapes = partial(_weight_shapes, backbone_class, preset)
        resized = _match_resized(error, backbone_class, preset, weights, shapes) if overrides else None
        if resized is not None:
            return backbone, weights, resized, created
        remedy = suggest_overrides(error, preset, overrides, shapes, call)
        if remedy is None:
            raise
        raise WeightsMismatchError(error.subject, reshaped=error.reshaped, remedy=remedy) from None
    return backbone, weights, match, created


def _match_resized(
    error: WeightsMismatchError,
    backbone_class: Any,
    preset: OpenPreset,
    weights: Mapping[str, Any],
    shapes: Callable[[dict[str, Any]], dict[str, tuple[int, ...]]],
) -> Match | None:
    """Returns the match in which the class resizes the weights that do not fit, or None if it cannot."""
    if error.missing or error.unused or error.retyped or not error.reshaped:
        return None
    from vertebra._formats.resized_weights import match_resized  # a load that fits does without its imports

    names = [name for name, _, _ in error.reshaped]
    return match_resized(backbone_class, preset, weights, shapes({}), names)


def _weight_shapes(backbone_class: Any, preset: OpenPreset, overrides: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each weight of a preset's backbone with overrides, by name."""
    from vertebra._weights.abstract import abstract_build
    from vertebra._weights.layer_paths import weight_names

    with abstract_build(partial(preset.admit, backbone_class.__name__, overrides)):
        backbone = build(backbone_class, preset.description, overrides)
    return {name: tuple(variable.shape) for name, variable in weight_names(backbone).items()}
