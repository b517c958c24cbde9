"""Loads a backbone from a preset, without initialising weights that the checkpoint will fill."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vertebra import _arguments
from vertebra._configuration.settings import settings
from vertebra._discovery import runtimes
from vertebra._formats.description import OpenPreset, PresetDescription
from vertebra._formats.registry import read_description
from vertebra._placement.agreement import Fact, agree, versions
from vertebra._placement.division import MeshChoice
from vertebra._placement.drawing import equal_draws
from vertebra._placement.processes import Group, Steps
from vertebra._presets import load_warnings
from vertebra._presets.backbones.arguments import check_overrides
from vertebra._presets.backbones.build import build, build_abstract, class_of
from vertebra._presets.certificate_header import Certificate, require_certificate
from vertebra._resolve.candidates import is_plain_path
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.lockfile import check_unlocked
from vertebra._resolve.observers import tell_observers
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._resolve.span_attributes import attributes_of_load
from vertebra._system.garbage import no_collection
from vertebra._system.spans import annotate, public_handle, traced
from vertebra._weights.checkpoint import Checkpoint
from vertebra._weights.match import Match
from vertebra._weights.tensor_views import TensorViews
from vertebra._weights.together.identity import digest_of
from vertebra.errors import CertificateError
from vertebra.interfaces import Runtime
from vertebra.specs import TaskPreset


@traced("load", attributes_of_load)
def load_backbone(
    asked: type,
    preset: str | Path,
    load_weights: bool,
    verify: bool,
    overrides: dict[str, Any],
    locked: bool | None = None,
    copy: bool | None = None,
    mesh: MeshChoice | None = None,
) -> Any:
    """Builds the backbone of a preset; `Backbone.from_preset` documents it."""
    load_weights = _arguments.flag("from_preset", "load_weights", load_weights)
    verify = _arguments.flag("from_preset", "verify", verify)
    check_unlocked(locked)
    if verify and not load_weights:
        raise CertificateError(preset, "verify=True needs the weights", "Pass load_weights=True, or verify=False")
    options = {"load_weights": load_weights, "verify": verify, "copy": _copies(copy)}
    request = {"load_weights": load_weights, "verify": verify, **overrides}
    with _together(asked, preset, request, mesh) as steps:
        opened = _open(preset, locked, asked=asked, overrides=overrides, **options)
        agree(steps, _identity(opened) if steps.group is not None else {})
        with no_collection():
            backbone = build_prepared(opened, overrides, mesh=mesh, steps=steps)
    if opened.certificate is not None:
        from vertebra._presets.certificate import check

        check(backbone, opened.certificate)
    opened.tell_observers()
    return backbone


@traced("load", lambda preset: attributes_of_load(preset.backbone))
def load_for_task(
    asked: type,
    preset: str | Path,
    load_weights: bool,
    overrides: dict[str, Any],
    locked: bool | None,
    copy: bool | None = None,
    mesh: MeshChoice | None = None,
) -> TaskPreset:
    """Builds the backbone of a preset, and returns the rest of the preset with it; see `vertebra.tasks.open_preset`."""
    load_weights = _arguments.flag("from_preset", "load_weights", load_weights)
    check_unlocked(locked)
    options = {"load_weights": load_weights, "copy": _copies(copy)}
    matches: list[Match] = []
    with _together(asked, preset, {"load_weights": load_weights, **overrides}, mesh) as steps:
        opened = _open(preset, locked, asked=asked, overrides=overrides, **options)
        agree(steps, _identity(opened) if steps.group is not None else {})
        with no_collection():
            backbone = build_prepared(opened, overrides, matches.append, mesh, steps)
    opened.tell_observers()
    description = opened.description
    if opened.preset is None:
        return TaskPreset(backbone, description.format_of_files, description.folder, {})
    checkpoint, match = opened.preset.mapped(), matches[0]
    tensors = TensorViews(match.outside, checkpoint.view)
    heads = load_warnings.heads_with_own_values(checkpoint, match)
    return TaskPreset(backbone, description.format_of_files, description.folder, tensors, match.fresh, heads)


@contextlib.contextmanager
def _together(asked: type, preset: str | Path, request: Mapping[str, Any], mesh: MeshChoice | None) -> Iterator[Steps]:
    """Yields the steps that all processes of a mesh take in a load, after comparing versions, arguments and meshes.

    They do so before anything is read, so that a long download is no difference.
    """
    group = None if mesh is None else Group.of(mesh.runtime, mesh.mesh)
    with Steps(group, "load the preset") as steps:
        if mesh is not None and group is not None:
            named = "a path" if is_plain_path(str(preset)) else str(preset)
            own = {"the preset": named, "the class": asked.__name__}
            agree(steps, {**versions(mesh.runtime.name), **own, **request, **mesh.facts()})
        yield steps


def _identity(opened: PreparedLoad) -> dict[str, object]:
    """Returns the facts of a preset that must be the same in all processes of a mesh, wherever each one has it."""
    described = opened.description
    weights = "" if opened.preset is None else digest_of(opened.preset.mapped())
    value = hashlib.sha256(repr((described.backbone, described.format, described.arguments, weights)).encode())
    digest = value.hexdigest()
    preset = Fact(digest, f"{described.folder.handle} ({digest[:12]})")
    arguments = {f"its {name}": value for name, value in described.arguments.items()}
    return {"the preset": preset, "its class": described.backbone, **arguments}


def _open(preset: str | Path, locked: bool | None, **options: Any) -> PreparedLoad:
    """Opens and prepares a preset; the span of the load names it, also if it fails."""
    annotate(preset=public_handle(_arguments.preset("from_preset", preset)))
    return read_consistently(preset, partial(prepare, **options), locked)


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


def _copies(copy: bool | None) -> bool:
    """Returns whether weights are copied into memory: as the user says, unless the machine enforces it."""
    chosen = settings().copy_weights if copy is None else _arguments.flag("from_preset", "copy", copy)
    return chosen or settings().is_enforced("copy_weights")


def prepare(
    folder: PresetFolder,
    asked: type,
    overrides: Mapping[str, Any],
    load_weights: bool = True,
    verify: bool = False,
    copy: bool = False,
) -> PreparedLoad:
    """Reads a preset and maps or copies its files, after checking the arguments against the class's constructor.

    Raises:
        UnknownNameError: as in `read_description`.
        PresetError: as in `Backbone.from_preset`; CertificateError if `verify` is set and there is no certificate.
    """
    annotate(preset=public_handle(folder.handle))
    description = read_description(folder, asked)
    backbone_class = class_of(description, asked)
    check_overrides(backbone_class, overrides, f"from_preset of {backbone_class.__name__}")
    preset = description.open(copy) if load_weights else None
    described = description if preset is None else preset.description
    return PreparedLoad(described, backbone_class, preset, require_certificate(folder) if verify else None)


def build_prepared(
    opened: PreparedLoad,
    overrides: dict[str, Any],
    report: Callable[[Match], None] | None = None,
    mesh: MeshChoice | None = None,
    steps: Steps | None = None,
) -> Any:
    """Builds a backbone, and fills it with the weights if they were mapped.

    Args:
        opened: The preset.
        overrides: Arguments of the constructor, instead of those of the config.
        report: Called with the match, instead of warnings about tensors that are not used and weights without values.
        mesh: The mesh of its weights, or None.
        steps: The steps of the processes of the mesh.

    Raises:
        PresetConfigError: the config does not build the class.
        WeightsMismatchError: some weight or tensor has no counterpart.
    """
    description, preset = opened.description, opened.preset
    annotate(format=description.format, weights=preset is not None)
    with equal_draws(steps or Steps(None, "")):
        if preset is None:
            backbone = _without_weights(opened, overrides, mesh)
        else:
            backbone = _with_weights(opened, preset, overrides, report, mesh)
    backbone._preset, backbone._origin = str(description.folder.handle), description.folder
    return backbone


def _without_weights(opened: PreparedLoad, overrides: dict[str, Any], mesh: MeshChoice | None) -> Any:
    description = opened.description
    backbone = build(opened.backbone_class, description, overrides)
    load_warnings.untidy_preset(description, description.notes)
    if mesh is not None:
        from vertebra._weights.dividing import divide_built

        divide_built(mesh, backbone)
    return backbone


def _with_weights(
    opened: PreparedLoad,
    preset: OpenPreset,
    overrides: dict[str, Any],
    report: Callable[[Match], None] | None,
    mesh: MeshChoice | None,
) -> Any:
    description, checkpoint, bound = opened.description, preset.mapped(), runtimes.bind()
    again = mesh is None or not mesh.has_others  # all processes of a mesh draw the same numbers in one build
    backbone, weights, match, created = build_abstract(opened.backbone_class, preset, overrides, again=again)
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
    if mesh is None:
        _fill(bound, backbone, weights, checkpoint, match, created)
    else:
        from vertebra._weights.dividing import fill_divided

        fill_divided(mesh, backbone, weights, checkpoint, match, created)
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
