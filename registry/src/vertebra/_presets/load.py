"""Loads a backbone from a preset, without initialising weights that the checkpoint will fill."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vertebra._arguments import flag
from vertebra._discovery import backbone_classes, runtimes
from vertebra._formats.checked_translation import CheckedTranslation
from vertebra._formats.description import OpenPreset, PresetDescription
from vertebra._formats.migration import installing
from vertebra._formats.registry import read_description
from vertebra._keras.dtype_names import dtype_problem
from vertebra._presets import load_warnings
from vertebra._presets.certificate_header import Certificate, require_certificate
from vertebra._presets.suggest_overrides import Call, load_call, suggest_overrides
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.lockfile import check_unlocked
from vertebra._resolve.observers import tell_observers
from vertebra._resolve.preset_folder import PresetFolder, config_error
from vertebra._resolve.span_attributes import attributes_of_load
from vertebra._system.spans import annotate, traced
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.match import Match
from vertebra._weights.tensor_views import TensorViews
from vertebra.errors import (
    CertificateError,
    PresetClassError,
    PresetConfigError,
    UnknownNameError,
    VertebraError,
    WeightsMismatchError,
    close_names,
    exception_text,
)
from vertebra.errors.base import shown
from vertebra.interfaces import Runtime
from vertebra.specs import TaskPreset

_LONGEST_NAME = 255
"""Characters of a model's name."""
BASE_ARGUMENTS = {"name": str, "trainable": bool, "dtype": object, "lora": dict | None, "quantized": dict}
"""The arguments that configs of every class may have, with their types."""
# Keras would import any class that the config of a dtype policy names, so a preset may give only a policy's name.
_AS_DATA = {"dtype": str}


@traced("load", attributes_of_load)
def load_backbone(
    asked: type,
    preset: str | Path,
    load_weights: bool,
    verify: bool,
    overrides: dict[str, Any],
    locked: bool | None = None,
) -> Any:
    """Builds the backbone of a preset; `Backbone.from_preset` documents it."""
    load_weights = flag("from_preset", "load_weights", load_weights)
    verify = flag("from_preset", "verify", verify)
    check_unlocked(locked)
    if verify and not load_weights:
        raise CertificateError(preset, "verify=True needs the weights", "Pass load_weights=True, or verify=False")
    read = partial(prepare, asked=asked, overrides=overrides, load_weights=load_weights, verify=verify)
    opened = read_consistently(preset, read, locked)
    backbone = build_prepared(opened, overrides)
    if opened.certificate is not None:
        from vertebra._presets.certificate import check

        check(backbone, opened.certificate)
    opened.tell_observers()
    return backbone


@traced("load", lambda preset: attributes_of_load(preset.backbone))
def load_for_task(
    asked: type, preset: str | Path, load_weights: bool, overrides: dict[str, Any], locked: bool | None
) -> TaskPreset:
    """Builds the backbone of a preset, and returns the rest of the preset with it; see `vertebra.tasks.open_preset`."""
    load_weights = flag("from_preset", "load_weights", load_weights)
    check_unlocked(locked)
    read = partial(prepare, asked=asked, overrides=overrides, load_weights=load_weights)
    opened = read_consistently(preset, read, locked)
    matches: list[Match] = []
    backbone = build_prepared(opened, overrides, matches.append)
    opened.tell_observers()
    description = opened.description
    if opened.preset is None:
        return TaskPreset(backbone, description.format, description.folder, {})
    tensors = TensorViews(matches[0].outside, opened.preset.mapped().view)
    return TaskPreset(backbone, description.format, description.folder, tensors, matches[0].fresh)


@dataclass(frozen=True, slots=True)
class PreparedLoad:
    """Everything that a backbone is built from: read from one version of the preset, with its files mapped."""

    description: PresetDescription
    backbone_class: Any
    preset: OpenPreset | None
    """The opened preset, or None if the backbone is built without weights."""
    certificate: Certificate | None

    def tell_observers(self) -> None:
        """Tells the plugins that observe loads."""
        described = self.description
        tell_observers(described.folder, described.format, described.backbone, self.preset is not None)


def prepare(
    folder: PresetFolder, asked: type, overrides: Mapping[str, Any], load_weights: bool = True, verify: bool = False
) -> PreparedLoad:
    """Reads a preset and maps its files, after checking the arguments against the class's constructor.

    Raises:
        UnknownNameError: as in `read_description`.
        PresetError: as in `Backbone.from_preset`; CertificateError if `verify` is set and there is no certificate.
    """
    description = read_description(folder, asked)
    backbone_class = class_of(description, asked)
    check_overrides(backbone_class, overrides, f"from_preset of {backbone_class.__name__}")
    preset = description.open() if load_weights else None
    described = description if preset is None else preset.description
    return PreparedLoad(described, backbone_class, preset, require_certificate(folder) if verify else None)


def build_prepared(
    opened: PreparedLoad, overrides: dict[str, Any], report: Callable[[Match], None] | None = None
) -> Any:
    """Builds a backbone, and fills it with the weights if they were mapped.

    Args:
        opened: The preset.
        overrides: Arguments of the constructor, instead of those of the config.
        report: Called with the match, instead of warnings about tensors that are not used and weights without values.

    Raises:
        PresetConfigError: the config does not build the class.
        WeightsMismatchError: some weight or tensor has no counterpart.
    """
    description, preset = opened.description, opened.preset
    annotate(format=description.format, weights=preset is not None)
    if preset is None:
        backbone = build(opened.backbone_class, description, overrides)
        load_warnings.untidy_preset(description, description.notes)
    else:
        runtime, checkpoint = runtimes.bind(), preset.mapped()
        backbone, weights, match, created = build_abstract(opened.backbone_class, preset, overrides)
        load_warnings.untidy_preset(description, match.notes)
        if report is None:
            load_warnings.fresh_weights(description, match)
            load_warnings.unused_tensors(description, match)
            load_warnings.untied_logits(description, checkpoint, match)
        else:
            report(match)
        load_warnings.second_checkpoint(description)
        load_warnings.computed_otherwise(description)
        if "dtype" not in overrides:
            load_warnings.widened_weights(description, checkpoint, weights, match)
        _fill(runtime, backbone, weights, checkpoint, match, created)
    backbone._preset, backbone._origin = str(description.folder.handle), description.folder
    return backbone


def _fill(
    runtime: Runtime,
    backbone: Any,
    weights: Mapping[str, Any],
    checkpoint: Checkpoint,
    match: Match,
    created: list[Any],
) -> None:
    from vertebra._weights.abstract import finish, initialize
    from vertebra._weights.assign import assign_seeds, assign_weights

    assign_weights(runtime, weights, checkpoint, match)
    assign_seeds(runtime, backbone)
    initialize(created)
    finish(backbone)


def class_of(description: PresetDescription, asked: Any = None) -> Any:
    """Returns the class of a preset, after checking the config's arguments against its constructor.

    Args:
        description: The preset.
        asked: The class that the user asked for, or None for any.

    Raises:
        PresetClassError: the preset's class is not `asked` or a subclass of it.
        PresetConfigError: the class is not installed, or an argument is unknown or has a wrong type.
    """
    backbone_class = _resolve_class(description, asked)
    known = {**BASE_ARGUMENTS, **backbone_class._constructor_arguments()} | _AS_DATA
    _check_arguments(backbone_class, description.arguments, known, f"config.json of {str(description.folder.handle)!r}")
    name = description.arguments.get("name")
    if isinstance(name, str) and not (name.isprintable() and len(name) <= _LONGEST_NAME):  # which Keras prints as it is
        problem = f"name is {shown(name)}, expected at most {_LONGEST_NAME} printable characters"
        raise config_error(description.folder, problem)
    return backbone_class


def check_overrides(backbone_class: Any, overrides: Mapping[str, Any], origin: str) -> None:
    """Checks overrides against the constructor's arguments.

    Args:
        backbone_class: The class.
        overrides: The overrides by name.
        origin: The call that they are passed to, for messages.

    Raises:
        PresetConfigError: an argument is unknown or has a wrong type, or the dtype is no dtype policy.
    """
    known = {**BASE_ARGUMENTS, **backbone_class._constructor_arguments()}
    _check_arguments(backbone_class, overrides, known, origin, "Correct the argument")
    if problem := dtype_problem(overrides.get("dtype")):
        raise PresetConfigError(origin, problem, "Correct the argument")


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
    backbone_class: Any, preset: OpenPreset, overrides: dict[str, Any], call: Call = load_call
) -> tuple[Any, dict[str, Any], Match, list[Any]]:
    """Builds a preset's backbone without values, and finds the tensor that fills each weight.

    Args:
        backbone_class: The class.
        preset: The preset.
        overrides: Arguments of the class's constructor, instead of those of the config.
        call: Returns the call or command with other overrides, for the message if those would fit.

    Returns:
        The backbone, its weights by name, their tensors, and every variable that was created.

    Raises:
        PresetConfigError: the config does not build the class.
        WeightsMismatchError: some weight or tensor has no counterpart.
        PluginError: the translation of the preset's format has the wrong weights.
    """
    from vertebra._weights.abstract import abstract_build
    from vertebra._weights.layer_paths import weight_names

    with abstract_build() as created:
        backbone = build(backbone_class, preset.description, overrides)
    weights = weight_names(backbone)
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

    with abstract_build():
        backbone = build(backbone_class, preset.description, overrides)
    return {name: tuple(variable.shape) for name, variable in weight_names(backbone).items()}


def _check_arguments(
    backbone_class: Any, arguments: Mapping[str, Any], known: Mapping[str, Any], origin: str, remedy: str = ""
) -> None:
    """Checks the names and types of arguments against those of the constructor, before it is called."""
    for name, value in arguments.items():
        if name not in known:
            similar = close_names(name, known)
            hint = f", did you mean {similar[0]!r}?" if similar else ""
            raise PresetConfigError(origin, f"{backbone_class.__name__} has no argument {name!r}{hint}", remedy)
        if not _fits(value, known[name]):
            wanted = getattr(known[name], "__name__", str(known[name]))
            raise PresetConfigError(origin, f"{name} is {shown(value)}, expected a value of type {wanted}", remedy)


def _fits(value: object, hint: Any) -> bool:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_fits(value, choice) for choice in typing.get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return type(value) is int
    return hint is Any or not isinstance(hint, type) or isinstance(value, hint)
