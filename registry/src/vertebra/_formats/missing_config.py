"""What a folder without `config.json` is instead, for messages: an adapter, a file, an archive, folders of presets.

Presets in subfolders are checkpoints of a training run (`checkpoint-500/`), pipelines of several models
(`text_encoder/`), and models of Sentence Transformers before 3.0 (`0_Transformer/`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from vertebra._formats.other_weights import format_to_install, found_weights
from vertebra._resolve.candidates import suggested_handles
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._resolve.subfolders import named_subfolders, newest_first
from vertebra._system.strict_json import read_json
from vertebra.errors import PresetNotFoundError, VertebraError
from vertebra.errors.base import shorten
from vertebra.file_names import ADAPTER_CONFIG, ADAPTER_SUFFIXES, CONFIG, adapter_folders

_MOST_READ = 40
"""Most configs that are read."""
_MOST_NAMED = 5
"""Most weights files that a message names."""
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)
_ONTO = "backbone.load_lora_weights({0!r}); to see its settings, run: vertebra lora info {0}"
_SUBFOLDER = "Load the subfolder that you mean, by its own path or handle"


def no_config(folder: PresetFolder, is_preset: Callable[[Mapping[str, Any]], bool]) -> PresetNotFoundError:
    """Returns the error for a folder without a config, which names the files that are there instead.

    Args:
        folder: The folder.
        is_preset: Returns whether a config is that of a preset, and not of another part, such as pooling.
    """
    if ADAPTER_CONFIG in folder.names:
        return _adapter(folder)
    if folder.is_file:
        return _file(folder)
    presets = _presets_inside(folder, is_preset)
    if presets:
        return _subfolders(folder, "presets", presets)
    if adapters := adapter_folders(folder.names):
        return _subfolders(folder, "adapters", adapters)
    if archives := sorted(filter(_ARCHIVE.search, folder.names)):
        problem = f"it has no {CONFIG}, but the archive {archives[0]}"
        return PresetNotFoundError(folder.handle, problem, remedy=f"Unpack it, and load the folder with its {CONFIG}")
    if weights := found_weights(folder.names):
        problem = f"{CONFIG} is missing next to {shorten(weights, _MOST_NAMED)}"
        remedy = format_to_install(weights) or "Copy the whole folder that the weights come from"
        return PresetNotFoundError(folder.handle, problem, remedy=remedy)
    return PresetNotFoundError(folder.handle, f"it has no {CONFIG}")


def _adapter(folder: PresetFolder) -> PresetNotFoundError:
    base = _base(folder)
    preset = next(iter(suggested_handles(base)), base) if base else "BASE"
    load = f"backbone = vertebra.Backbone.from_preset({preset!r}); {_ONTO.format(folder.requested)}"
    problem = f"it is an adapter{f' of {base!r}' if base else ''} in PEFT's format, and no whole model"
    return PresetNotFoundError(folder.handle, problem, remedy=f"Load it onto its base: {load}")


def _base(folder: PresetFolder) -> str | None:
    """Returns the base that PEFT's config names."""
    with contextlib.suppress(VertebraError, OSError):
        base = read_json(folder.fetch(ADAPTER_CONFIG)).get("base_model_name_or_path")
        return base if isinstance(base, str) and base else None
    return None


def _file(folder: PresetFolder) -> PresetNotFoundError:
    path = PurePosixPath(folder.handle.path)
    parent = replace(folder.handle, path=path.parent.as_posix())
    holds_config = folder.files[0].path is not None and (folder.files[0].path.parent / CONFIG).is_file()
    load = f"If it is an adapter, load it onto its base: {_ONTO.format(folder.requested)}"
    return PresetNotFoundError(
        folder.handle,
        "it is a file, and a preset is a folder",
        [str(parent)] if holds_config else [],
        load if path.name.endswith(ADAPTER_SUFFIXES) and not holds_config else format_to_install([path.name]) or "",
    )


def _subfolders(folder: PresetFolder, kind: str, found: list[str]) -> PresetNotFoundError:
    words, handles = named_subfolders(folder, kind, found)
    remedy = _SUBFOLDER if handles else ""
    return PresetNotFoundError(folder.handle, f"it has no {CONFIG}, but {words}", list(map(str, handles)), remedy)


def _presets_inside(folder: PresetFolder, is_preset: Callable[[Mapping[str, Any]], bool]) -> list[str]:
    """Returns the subfolders that hold a preset."""
    end = f"/{CONFIG}"
    inside = sorted((name.removesuffix(end) for name in folder.names if name.endswith(end)), key=newest_first)
    return [name for name in inside[:_MOST_READ] if _holds_preset(folder, name, is_preset)]


def _holds_preset(folder: PresetFolder, name: str, is_preset: Callable[[Mapping[str, Any]], bool]) -> bool:
    with contextlib.suppress(VertebraError, OSError):  # an unreadable config is no preset's
        return is_preset(read_json(folder.fetch(f"{name}/{CONFIG}")))
    return False
