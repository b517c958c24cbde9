"""Saving: a preset folder appears complete, or not at all."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vertebra import _arguments
from vertebra._arguments import flag, is_amount
from vertebra._formats.export import export_of, plain_config
from vertebra._formats.registry import FORMATS
from vertebra._lora.choices.calls import reading
from vertebra._presets.assets import NOT_HERE, Assets, CarriedAssets, select_assets
from vertebra._presets.replace_folder import carry_others, format_of_folder, unread_weights
from vertebra._resolve.open import open_folder
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.atomic_save import destination, replacing_folder
from vertebra._weights.abstract import abstract_build
from vertebra._weights.layer_paths import weight_names
from vertebra._weights.quantized import check_plannable
from vertebra.errors import ArgumentError, PresetError, PresetFormatError, PresetSaveError, VertebraError

log = logging.getLogger("vertebra")
_MOST_NAMES = 5


def save_backbone(
    backbone: Any,
    preset_dir: str | Path,
    format: str,
    max_shard_size: float | None = 10,
    certificate: bool = True,
    assets: bool | str | Path = True,
    fetch: bool = False,
) -> CarriedAssets:
    """Writes a preset folder; `Backbone.save_to_preset` documents it, and warns of what this says was left out.

    With `fetch`, assets of the backbone's own preset that are not on this machine are fetched.
    """
    certificate = flag("save_to_preset", "certificate", certificate)
    assets = _checked(assets)
    target = check_request(preset_dir, format, max_shard_size)
    chosen = _chosen(backbone, format, assets, fetch)  # may take long, so changes of the backbone do not wait for it
    with reading(backbone):
        weights = weight_names(backbone)
        _check_rebuilds(target, backbone, weights)
        with replacing_folder(target) as stage:
            export = replace(export_of(backbone, weights), original=chosen.original)
            fields = FORMATS[format].write(export, stage, max_shard_size)
            carry_others(target, stage, format)
            chosen = chosen.copy(stage)
            if certificate:
                from vertebra._presets.certificate import write_certificate

                write_certificate(backbone, stage)
            carry_others(target, stage, format, replace=True)  # files that were written into the target meanwhile
    return chosen.outcome(target, fields)


def _checked(assets: object) -> bool | str | Path:
    """Returns the argument `assets`: a switch, or what names a preset.

    Raises:
        ArgumentError: it is something else.
    """
    with contextlib.suppress(ArgumentError):
        return flag("save_to_preset", "assets", assets)
    try:
        return _arguments.preset("save_to_preset", assets, "assets")
    except ArgumentError as error:
        expected = "True, False, or a preset: an id, a handle or a path"
        raise ArgumentError("save_to_preset", "assets", assets, expected) from error


def _chosen(backbone: Any, format: str, assets: bool | str | Path, fetch: bool) -> Assets:
    """Returns the assets to save with a backbone: those of the preset that it came from, or of another one."""
    named = open_folder(assets) if isinstance(assets, str | Path) else None
    folder = named or (backbone._origin if assets else None)
    if folder is None:
        return Assets()
    if named or fetch:
        return select_assets(folder, format, folder.fetch_all, same_weights=False)
    try:
        folder = folder.relisted()
        return select_assets(folder, format, partial(_here, folder), same_weights=False)
    except VertebraError as error:  # trained weights must not be lost for want of a tokenizer
        log.warning("%s: its files besides config and weights were not saved. %s", folder.handle, error)
        return Assets()


def _here(folder: PresetFolder, names: Sequence[str]) -> list[Path | str]:
    """Returns the local path of each file that is on this machine, or why it cannot be carried."""
    found: list[Path | str] = []
    for name in names:
        try:
            path = folder.find(name)
            if path is not None:
                path.open("rb").close()
            found.append(path or NOT_HERE)
        except PresetError as error:  # such as a link that leads out of the folder
            found.append(f"it cannot be read: {getattr(error, 'problem', error)}")
        except OSError as error:
            found.append(f"it cannot be read: {error.strerror}")
    return found


def check_request(preset_dir: str | Path, format: str, max_shard_size: float | None) -> Path:
    """Returns the absolute path to write to, after checking all that can be checked before.

    Raises:
        PresetFormatError: the format is not known.
        PresetSaveError: a preset cannot be written there.
    """
    if not isinstance(format, str) or format not in FORMATS:
        raise PresetFormatError(
            f"Preset to write at {str(preset_dir)!r}", f"format={format!r} is not known", list(FORMATS)
        )
    if max_shard_size is not None and not is_amount(max_shard_size):
        problem = f"max_shard_size={max_shard_size!r} is not a finite number above 0"
        raise PresetSaveError(preset_dir, problem, "Give gigabytes, or None for one file")
    target = destination(preset_dir)
    _check_target(target)
    return target


def _check_target(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise PresetSaveError(target, "a file stands there, and a preset is a folder", "Choose another path")
    if target == Path.cwd() or target in Path.cwd().parents:
        raise PresetSaveError(target, "it holds the current directory", "Save to a folder of its own")
    if target.is_dir() and any(target.iterdir()) and format_of_folder(target) is None:
        raise PresetSaveError(target, "the folder holds other things and no preset", "Choose a new or empty folder")
    _check_weights(target)


def _check_weights(target: Path) -> None:
    """Refuses to replace a preset whose folder has further weights: they would be deleted without ever being read."""
    unread = unread_weights(target) if target.is_dir() else []
    if unread:
        shown = ", ".join(unread[:_MOST_NAMES]) + (", …" if len(unread) > _MOST_NAMES else "")
        problem = f"it also holds weights that its preset does not read ({shown}), and saving here would delete them"
        remedy = f"vertebra verify {target} compares two checkpoints. Remove one of them, or save to another folder"
        raise PresetSaveError(target, problem, remedy)


def _check_rebuilds(target: Path, backbone: Any, weights: Mapping[str, Any]) -> None:
    """Builds, without values, what from_preset would build: nothing is replaced by a preset that cannot be read."""
    try:
        check_plannable(backbone)
        with abstract_build():
            again = weight_names(type(backbone).from_config(plain_config(backbone)))
    except VertebraError:
        raise
    except Exception as error:
        raise _not_rebuilt(target, f"its config does not build it again ({type(error).__name__}: {error})") from error
    differ = {name for name in again.keys() | weights.keys() if _shape(again, name) != _shape(weights, name)}
    if differ:
        raise _not_rebuilt(target, f"its config builds other weights than it has: {', '.join(sorted(differ)[:5])}")


def _shape(weights: Mapping[str, Any], name: str) -> tuple[int, ...] | None:
    return tuple(weights[name].shape) if name in weights else None


def _not_rebuilt(target: Path, problem: str) -> PresetSaveError:
    return PresetSaveError(
        target,
        problem,
        "Give every layer a name, and return all arguments of the constructor from get_config",
    )
