"""Saving: a preset folder appears complete, or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

from vertebra._atomic import destination, replacing_folder
from vertebra._presets import native
from vertebra._presets.folder import CONFIG
from vertebra._presets.formats import WRITERS
from vertebra._weights.checkpoint import INDEX, WEIGHTS
from vertebra._weights.naming import weight_names
from vertebra.errors import PresetFormatError, PresetSaveError

_OWNED = re.compile(rf"{CONFIG}|{native.METADATA}|{WEIGHTS}|{INDEX}|model-\d{{5}}-of-\d{{5}}\.safetensors")


def save_backbone(backbone: Any, preset_dir: str | Path, format: str, max_shard_size: float | None) -> None:
    """Writes a preset folder; `Backbone.save_to_preset` documents it."""
    if format not in WRITERS:
        raise PresetFormatError("save_to_preset", f"format={format!r} cannot be written", list(WRITERS))
    if max_shard_size is not None and not max_shard_size > 0:
        problem = f"max_shard_size={max_shard_size!r} is not a size above 0"
        raise PresetSaveError(preset_dir, problem, "Give gigabytes, or None for one file")
    target = destination(preset_dir)
    _check_target(target)
    weights = weight_names(backbone)
    with replacing_folder(target) as stage:
        WRITERS[format](backbone, weights, stage, max_shard_size)
        _carry_over(target, stage)


def _check_target(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise PresetSaveError(target, "a file stands there, and a preset is a folder", "Choose another path")
    if target == Path.cwd() or target in Path.cwd().parents:
        raise PresetSaveError(target, "it holds the current directory", "Save to a folder of its own")
    if target.is_dir() and any(target.iterdir()) and not (target / CONFIG).is_file():
        raise PresetSaveError(target, "the folder holds other things and no preset", "Choose a new or empty folder")


def _carry_over(target: Path, stage: Path) -> None:
    """Keeps what others put into an existing preset, such as a tokenizer, by hard link where that is possible."""
    if not target.is_dir():
        return
    for item in target.iterdir():
        if not _OWNED.fullmatch(item.name):
            _link(item, stage / item.name)


def _link(item: Path, copy: Path) -> None:
    if item.is_dir() and not item.is_symlink():
        shutil.copytree(item, copy, symlinks=True)
        return
    with contextlib.suppress(OSError):
        os.link(item, copy, follow_symlinks=False)
        return
    shutil.copy2(item, copy, follow_symlinks=False)
