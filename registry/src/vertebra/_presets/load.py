"""Loading: from what the user wrote to a backbone, without initialising what will be overwritten."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vertebra._arguments import flag
from vertebra._discovery import catalog, runtimes
from vertebra._discovery.plugins import registry
from vertebra._formats.description import OpenPreset, PresetDescription
from vertebra._formats.registry import read_description
from vertebra._presets import load_warnings
from vertebra._presets.certificate_header import Certificate, require_certificate
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.lockfile import check_unlocked
from vertebra._resolve.preset_folder import PresetFolder, config_error
from vertebra._system.user_warnings import warn
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.match import Match
from vertebra.errors import (
    CertificateError,
    PresetClassError,
    PresetConfigError,
    UnknownNameError,
    VertebraError,
    close_names,
)
from vertebra.interfaces import Runtime
from vertebra.specs import LoadedPreset

_BASE_ARGUMENTS = {"name": str, "trainable": bool, "dtype": object, "lora": dict | None, "quantized": dict}
# Keras would import whatever the config of a dtype policy names; a preset may only name a policy.
_AS_DATA = {"dtype": str}


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
        raise CertificateError(preset, "without its weights there is nothing to compare", "Load them, or do not verify")
    read = partial(prepare, asked=asked, overrides=overrides, load_weights=load_weights, verify=verify)
    opened = read_consistently(preset, read, locked)
    backbone = build_prepared(opened, overrides)
    if opened.certificate is not None:
        from vertebra._presets.certificate import check

        check(backbone, opened.certificate)
    tell_observers(opened)
    return backbone


@dataclass(frozen=True, slots=True)
class PreparedLoad:
    """What a backbone is built from: all of one version of the preset, and mapped, so that it stays that."""

    description: PresetDescription
    backbone_class: Any
    preset: OpenPreset | None
    """The opened preset, or None if the backbone is built without weights."""
    certificate: Certificate | None


def prepare(
    folder: PresetFolder, asked: type, overrides: Mapping[str, Any], load_weights: bool = True, verify: bool = False
) -> PreparedLoad:
    """Reads a preset and maps its files, after comparing what its class takes with what it is given.

    Raises:
        PresetError: as `Backbone.from_preset`; CertificateError if it shall be verified and has no certificate.
    """
    contents = read_description(folder)
    backbone_class = class_of(contents, asked)
    known = {**_BASE_ARGUMENTS, **backbone_class._constructor_arguments()}
    place = f"from_preset of {backbone_class.__name__}"
    _check_arguments(backbone_class, overrides, known, place, "Correct the argument")
    preset = contents.open() if load_weights else None
    described = contents if preset is None else preset.description
    return PreparedLoad(described, backbone_class, preset, require_certificate(folder) if verify else None)


def build_prepared(opened: PreparedLoad, overrides: dict[str, Any]) -> Any:
    """Builds a backbone, with the weights that are mapped if any are.

    Raises:
        PresetConfigError: the config does not build the class.
        WeightsMismatchError: some weight or tensor has no counterpart.
    """
    contents, preset = opened.description, opened.preset
    if preset is None:
        backbone = build(opened.backbone_class, contents, overrides)
    else:
        runtime, checkpoint = runtimes.bind(), preset.mapped()
        backbone, weights, found, created = build_abstract(opened.backbone_class, preset, overrides)
        load_warnings.fresh_weights(contents, found)
        load_warnings.unused_tensors(contents, found)
        load_warnings.untied_logits(contents, checkpoint, found)
        load_warnings.second_checkpoint(contents)
        if "dtype" not in overrides:
            load_warnings.widened_weights(contents, checkpoint, weights, found)
        _fill(runtime, backbone, weights, checkpoint, found, created)
    backbone._preset, backbone._origin = str(contents.folder.handle), contents.folder
    return backbone


def _fill(
    runtime: Runtime,
    backbone: Any,
    weights: Mapping[str, Any],
    checkpoint: Checkpoint,
    found: Match,
    created: list[Any],
) -> None:
    from vertebra._weights.abstract import finish, initialize
    from vertebra._weights.assign import place, place_seeds

    place(runtime, weights, checkpoint, found.sources)
    place_seeds(runtime, backbone)
    initialize(created)
    finish(backbone)


def class_of(contents: PresetDescription, asked: Any = None) -> Any:
    """Returns the class of a preset, after comparing the config's arguments with the constructor's.

    Args:
        contents: The preset.
        asked: The class that the user asked for, or None for any.

    Raises:
        PresetClassError: it is neither the class that was asked for nor derived from it.
        PresetConfigError: no such class is installed, or an argument is unknown or of another type.
    """
    backbone_class = _resolve_class(contents, asked)
    known = {**_BASE_ARGUMENTS, **backbone_class._constructor_arguments()} | _AS_DATA
    _check_arguments(backbone_class, contents.arguments, known, f"config.json of {str(contents.folder.handle)!r}")
    return backbone_class


def _resolve_class(contents: PresetDescription, asked: Any) -> Any:
    """A class that was asked for by name may be one that no plugin registered; else the name is looked up."""
    if asked is not None and contents.backbone == asked.__name__:
        return asked
    try:
        found = catalog.backbone_class(contents.backbone)
    except UnknownNameError as error:
        remedy = f"Install the plugin that provides it.{_hint(error)}"
        raise config_error(contents.folder, f"no installed backbone is named {contents.backbone!r}", remedy) from error
    if asked is not None and not issubclass(found, asked):
        raise PresetClassError(contents.folder.handle, found.__name__, asked.__name__)
    return found


def _hint(error: UnknownNameError) -> str:
    return f" Installed with a similar name: {', '.join(error.suggestions)}" if error.suggestions else ""


def build(backbone_class: Any, contents: PresetDescription, overrides: dict[str, Any]) -> Any:
    """Calls a class's constructor with what the config says, and overrides.

    Raises:
        PresetConfigError: the constructor refuses it.
    """
    try:
        return backbone_class.from_config(contents.arguments | overrides)
    except VertebraError:
        raise
    except Exception as error:  # whatever a constructor makes of values that it did not expect
        problem = f"{backbone_class.__name__} cannot be built from it ({type(error).__name__}: {error})"
        if overrides:
            given = ", ".join(f"{name}={value!r}" for name, value in overrides.items())
            remedy = f"Check the arguments given to from_preset ({given}), and then the file"
            raise config_error(contents.folder, problem, remedy) from error
        raise config_error(contents.folder, problem) from error


def build_abstract(
    backbone_class: Any, preset: OpenPreset, overrides: dict[str, Any]
) -> tuple[Any, dict[str, Any], Match, list[Any]]:
    """Builds a preset's backbone without values, and finds the tensor that fills each weight.

    Returns:
        The backbone, its weights by name, what fills them, and every variable that was created.

    Raises:
        PresetConfigError: the config does not build the class.
        WeightsMismatchError: some weight or tensor has no counterpart.
    """
    from vertebra._weights.abstract import abstract_build
    from vertebra._weights.layer_paths import weight_names

    with abstract_build() as created:
        backbone = build(backbone_class, preset.description, overrides)
    weights = weight_names(backbone)
    found = preset.match(weights)
    return backbone, weights, found, created


def tell_observers(opened: PreparedLoad) -> None:
    """Tells the plugins that ask for it what was loaded."""
    contents, with_weights = opened.description, opened.preset is not None
    folder = contents.folder
    loaded = LoadedPreset(folder.requested, folder.handle, contents.format, contents.backbone, with_weights)
    for plugin, observe in registry().implementations("vertebra_preset_loaded"):
        try:
            observe(loaded=loaded)
        except Exception as error:  # an observer's failure must not cost the user the model
            warn(f"Plugin {plugin.name}: vertebra_preset_loaded failed ({error})")


def _check_arguments(
    backbone_class: Any, arguments: Mapping[str, Any], known: Mapping[str, Any], place: str, remedy: str = ""
) -> None:
    """Compares names and types with those that the constructor takes, before anything is built from them."""
    for name, value in arguments.items():
        if name not in known:
            similar = close_names(name, known)
            hint = f", did you mean {similar[0]!r}?" if similar else ""
            raise PresetConfigError(place, f"{backbone_class.__name__} has no argument {name!r}{hint}", remedy)
        if not _fits(value, known[name]):
            wanted = getattr(known[name], "__name__", str(known[name]))
            raise PresetConfigError(place, f"{name} is {value!r}, expected a value of type {wanted}", remedy)


def _fits(value: object, hint: Any) -> bool:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_fits(value, choice) for choice in typing.get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return type(value) is int
    return hint is Any or not isinstance(hint, type) or isinstance(value, hint)
