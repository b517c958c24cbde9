"""The registry of preset formats: format modules by name, and detection of a preset's format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

from vertebra._formats import kerashub, native, transformers
from vertebra._formats.description import PresetDescription
from vertebra._formats.model_type import infer_model_type
from vertebra._resolve.preset_folder import PresetFolder

FORMATS: dict[str, ModuleType] = {module.NAME: module for module in (native, transformers, kerashub)}


def format_of(config: Mapping[str, Any]) -> ModuleType | None:
    """Returns the format module for a config, or None if no known format recognises it."""
    return next((module for module in FORMATS.values() if module.recognises(config)), None)


def format_of_preset(config: Mapping[str, Any]) -> ModuleType | None:
    """Returns the format module for the config of a preset that was read, or None for an empty config.

    The first configs of transformers have no mark of their format.
    """
    return format_of(config) or (transformers if config else None)


def read_description(folder: PresetFolder, asked: type | None = None) -> PresetDescription:
    """Reads a preset's config in any known format.

    Args:
        folder: The preset.
        asked: The class that the user asked for, or None for any. A config that does not name its architecture is
            read as the class's.

    Raises:
        PresetConfigError: the config is in no known format, or unsound.
    """
    config = folder.config()
    module = format_of(config)
    with folder.missing_files("files that its config needs"):
        if module is None:
            model_type, note = infer_model_type(folder, config, asked)
            return replace(transformers.read(folder, {**config, "model_type": model_type}), notes=(note,))
        description: PresetDescription = module.read(folder, config)
    return description
