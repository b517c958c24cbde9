"""Saves a backbone as a preset folder, which appears complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vertebra import _arguments
from vertebra._arguments import flag
from vertebra._discovery import runtimes
from vertebra._formats.export import export_of, plain_config
from vertebra._formats.registry import formats
from vertebra._lora.choices.calls import reading
from vertebra._placement.agreement import agree
from vertebra._placement.processes import Steps, group_of
from vertebra._presets.assets import NOT_LOCAL, Assets, CarriedAssets, select_assets
from vertebra._presets.replace_folder import check_request, keep_user_files, replaces_tokenizer
from vertebra._resolve.candidates import handle_of_path
from vertebra._resolve.open import open_folder
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._resolve.span_attributes import attributes_of_backbone
from vertebra._system.log import log
from vertebra._system.regular_files import open_regular
from vertebra._system.spans import annotate, is_recording, traced
from vertebra._tasks.preset_files import LocalFiles
from vertebra._tasks.tasks import write_task
from vertebra._tasks.tokenizers import SENTENCES, sample_of_tokenizer
from vertebra._weights.abstract import abstract_build
from vertebra._weights.layer_paths import weight_names
from vertebra._weights.quantized import check_plannable
from vertebra._weights.together.parts import Saving, gathering
from vertebra._weights.together.stages import replacing_by_all
from vertebra.errors import ArgumentError, PresetError, PresetSaveError, VertebraError, exception_text
from vertebra.specs import TaskExport, TextSample


@traced("save", lambda _: {})
def save_backbone(
    backbone: Any,
    preset_dir: str | Path,
    format: str,
    max_shard_size: float | None = 10,
    certificate: bool = True,
    assets: bool | str | Path = True,
    fetch: bool = False,
    task: TaskExport | None = None,
) -> CarriedAssets:
    """Writes a preset folder; documented by `Backbone.save_to_preset`, which warns about assets that are left out.

    With `fetch`, missing assets of the backbone's own preset are fetched. `task` adds to the preset.
    """
    annotate(format=format if isinstance(format, str) else None)
    if is_recording():
        annotate(**attributes_of_backbone(backbone))
    certificate = flag("save_to_preset", "certificate", certificate)
    assets = _assets_argument(assets)
    with Steps(group_of(runtimes.bind(), backbone), "save the preset") as steps:
        request = _Request(preset_dir, format, max_shard_size, certificate, task)
        return _save(backbone, request, assets, fetch, steps)


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments of a save."""

    preset_dir: str | Path
    format: str
    max_shard_size: float | None
    certificate: bool
    task: TaskExport | None


def _save(backbone: Any, request: _Request, assets: bool | str | Path, fetch: bool, steps: Steps) -> CarriedAssets:
    task, format = request.task, request.format
    target = check_request(request.preset_dir, format, request.max_shard_size)
    # Assets may be downloaded, so this runs before the backbone is locked.
    selected = _select_assets(backbone, format, assets, fetch) if steps.is_first else Assets()
    selected = selected if task is None else selected.without_task()
    with reading(backbone):
        weights = weight_names(backbone)
        _check_rebuilds(target, backbone, weights)
        _agree(steps, target, request, backbone, weights)
        parts_of = runtimes.bind().own_parts
        with (
            replacing_by_all(target, steps, parts_of) as (stage, saving),
            gathering(saving, backbone._mesh, parts_of),
        ):
            export = replace(export_of(backbone, weights, saving), original=selected.original, task=task)
            fields = formats()[format].write(export, stage, request.max_shard_size)
            keep = _keeping(backbone, target, stage, request, selected) if steps.is_first else None
            if keep is not None:
                keep()
                selected = selected.copy(stage)
            if request.certificate:
                _add_certificate(backbone, stage, task, saving)
            if keep is not None:
                keep(replace=True)  # includes files written into the target meanwhile
                if task is not None:
                    selected = selected.with_written(write_task(task, stage))
    backbone._saved_to.add(target)
    return selected.outcome(target, fields)


def _agree(steps: Steps, target: Path, request: _Request, backbone: Any, weights: Mapping[str, Any]) -> None:
    """Compares the saves of all processes of a mesh, which write one preset together."""
    if steps.group is None:
        return
    config = {name: value for name, value in plain_config(backbone).items() if name != "name"}
    layouts = [(name, str(variable.dtype), tuple(variable.shape)) for name, variable in weights.items()]
    facts = {
        "the folder": str(target),
        "format": request.format,
        "max_shard_size": request.max_shard_size,
        "certificate": request.certificate,
        "the class": type(backbone).__name__,
        "the config": config,
        "the weights": hashlib.sha256(repr(layouts).encode()).hexdigest(),
    }
    agree(steps, facts)


def _keeping(backbone: Any, target: Path, stage: Path, request: _Request, selected: Assets) -> Callable[..., None]:
    """Returns the function that keeps the user's own files of the folder that is replaced."""
    is_new = target not in backbone._saved_to  # what the user has changed there since is meant
    replaced = is_new and replaces_tokenizer(target, selected.paths, _rows(backbone))
    kept = {"with_task": request.task is None, "with_tokenizer": not replaced}
    return partial(keep_user_files, target, stage, request.format, **kept)


def _add_certificate(backbone: Any, stage: Path, task: TaskExport | None, saving: Saving | None) -> None:
    """Writes the certificate; all processes of a mesh compute its outputs, and the first one writes them."""
    from vertebra._presets.certificate import write_certificate

    folder = stage
    if saving is not None:
        assert saving.stage is not None
        folder = saving.stage  # which has the tokenizer, once the first process has copied it
        saving.steps.reach("files")
    write_certificate(backbone, stage, partial(_sample, backbone, folder, task))


def _sample(backbone: Any, stage: Path, task: TaskExport | None) -> TextSample | None:
    """Returns texts for the certificate, and their input, or None if the preset has no tokenizer of the backbone."""
    if task is not None and task.sample is not None:
        try:
            return task.sample(SENTENCES)
        except Exception as error:  # such as a preprocessor that refuses long texts; the task itself is saved
            log.warning("The parity certificate has no outputs of the task, which cannot take its texts (%s)", error)
    inputs = backbone.sample_inputs()
    if not isinstance(inputs, Mapping):
        return None
    rows = _rows(backbone)
    files = LocalFiles.of_folder(handle_of_path(stage), stage)
    return sample_of_tokenizer(files, inputs, getattr(backbone, "max_sequence_length", None), rows)


def _rows(backbone: Any) -> int | None:
    """Returns the number of rows of a backbone's token table, or None if it has none."""
    return getattr(getattr(backbone, "token_embedding", None), "input_dim", None)


def _assets_argument(assets: object) -> bool | str | Path:
    """Returns the argument `assets`: a bool, or a preset.

    Raises:
        ArgumentError: it is neither.
    """
    with contextlib.suppress(ArgumentError):
        return flag("save_to_preset", "assets", assets)
    try:
        return _arguments.preset("save_to_preset", assets, "assets")
    except ArgumentError as error:
        expected = "True, False, or a preset: an id, a handle or a path"
        raise ArgumentError("save_to_preset", "assets", assets, expected) from error


def _select_assets(backbone: Any, format: str, assets: bool | str | Path, fetch: bool) -> Assets:
    """Returns the assets to save with a backbone: those of its own preset, or of the preset named by `assets`."""
    named = open_folder(assets) if isinstance(assets, str | Path) else None
    folder = named or (backbone._origin if assets else None)
    if folder is None:
        return Assets()
    if named or fetch:
        return select_assets(folder, format, folder.fetch_all, same_weights=False)
    try:
        folder = folder.relisted()
        return select_assets(folder, format, partial(_local_paths, folder), same_weights=False)
    except VertebraError as error:  # a missing tokenizer must not keep trained weights from being saved
        log.warning("%s: only config and weights were saved, not its other files. %s", folder.handle, error)
        return Assets()


def _local_paths(folder: PresetFolder, names: Sequence[str]) -> list[Path | str]:
    """Returns, for each file, its local path or the reason why it cannot be carried; uses no network."""
    paths: list[Path | str] = []
    for name in names:
        try:
            path = folder.find(name)
            if path is not None:
                open_regular(path).close()
            paths.append(path or NOT_LOCAL)
        except PresetError as error:  # such as a symlink that leads out of the folder
            paths.append(f"it cannot be read: {getattr(error, 'problem', error)}")
        except OSError as error:
            paths.append(f"it cannot be read: {error.strerror}")
    return paths


def _check_rebuilds(target: Path, backbone: Any, weights: Mapping[str, Any]) -> None:
    """Checks that `from_preset` can build the backbone again from its config, by building it without values."""
    try:
        check_plannable(backbone)
        with abstract_build():
            again = weight_names(type(backbone).from_config(plain_config(backbone)))
    except VertebraError:
        raise
    except Exception as error:
        problem = f"the backbone cannot be rebuilt from its config ({exception_text(error)})"
        raise _not_rebuilt(target, problem) from error
    differ = {name for name in again.keys() | weights.keys() if _shape(again, name) != _shape(weights, name)}
    if differ:
        problem = f"the backbone rebuilt from its config has other weights: {', '.join(sorted(differ)[:5])}"
        raise _not_rebuilt(target, problem)


def _shape(weights: Mapping[str, Any], name: str) -> tuple[int, ...] | None:
    return tuple(weights[name].shape) if name in weights else None


def _not_rebuilt(target: Path, problem: str) -> PresetSaveError:
    return PresetSaveError(
        target,
        problem,
        "Give every layer a name, and return all arguments of the constructor from get_config",
    )
