"""Saving: a preset folder appears complete, or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vertebra._arguments import flag, is_amount
from vertebra._atomic import destination, replacing_folder
from vertebra._documents import read_json
from vertebra._presets import native
from vertebra._presets.draft import draft_of, plain_config
from vertebra._presets.folder import CONFIG
from vertebra._presets.formats import FORMATS
from vertebra._weights.abstract import abstract_build
from vertebra._weights.checkpoint import INDEX, WEIGHTS
from vertebra._weights.naming import weight_names
from vertebra._weights.quantized import check_plannable
from vertebra.errors import PresetConfigError, PresetFormatError, PresetSaveError, VertebraError

_OWNED = re.compile(
    rf"{CONFIG}|{native.METADATA}|certificate\.safetensors|{WEIGHTS}|{INDEX}|model-\d{{5}}-of-\d{{5}}\.safetensors"
    r"|model\.weights\.(h5|json)|model_\d{5}\.weights\.h5"
)


def save_backbone(
    backbone: Any, preset_dir: str | Path, format: str, max_shard_size: float | None, certificate: bool
) -> None:
    """Writes a preset folder; `Backbone.save_to_preset` documents it."""
    certificate = flag("save_to_preset", "certificate", certificate)
    target = check_request(preset_dir, format, max_shard_size)
    weights = weight_names(backbone)
    _check_rebuilds(target, backbone, weights)
    with replacing_preset(target) as stage:
        FORMATS[format].write(draft_of(backbone, weights), stage, max_shard_size)
        if certificate:
            from vertebra._presets.certificate import write_certificate

            write_certificate(backbone, stage)


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


@contextlib.contextmanager
def replacing_preset(target: Path) -> Iterator[Path]:
    """Yields an empty folder that takes the target's place, with what others put into the preset that stood there."""
    with replacing_folder(target) as stage:
        yield stage
        _carry_over(target, stage)


def _check_target(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise PresetSaveError(target, "a file stands there, and a preset is a folder", "Choose another path")
    if target == Path.cwd() or target in Path.cwd().parents:
        raise PresetSaveError(target, "it holds the current directory", "Save to a folder of its own")
    if target.is_dir() and any(target.iterdir()) and not _is_preset(target):
        raise PresetSaveError(target, "the folder holds other things and no preset", "Choose a new or empty folder")


def _is_preset(folder: Path) -> bool:
    try:
        config = read_json(folder / CONFIG)
    except (OSError, PresetConfigError):
        return False
    return any(module.recognises(config) for module in FORMATS.values())


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


def _carry_over(target: Path, stage: Path) -> None:
    """Keeps what others put into an existing preset, such as a tokenizer, by hard link where that is possible."""
    if not target.is_dir():
        return
    for item in target.iterdir():
        if not _OWNED.fullmatch(item.name):
            _link(item, stage / item.name)


def _link(item: Path, copy: Path) -> None:
    """Links an old file, or the files of an old folder, into the new preset; what is new there stays."""
    if item.is_dir() and not item.is_symlink():
        copy.mkdir(exist_ok=True)
        for inner in item.iterdir():
            _link(inner, copy / inner.name)
        shutil.copystat(item, copy)
        return
    if os.path.lexists(copy):
        return
    with contextlib.suppress(OSError):
        os.link(item, copy, follow_symlinks=False)
        return
    shutil.copy2(item, copy, follow_symlinks=False)
