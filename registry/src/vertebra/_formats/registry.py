"""The registry of preset formats: format modules by name, and detection of a preset's format."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from vertebra._formats import kerashub, native, transformers
from vertebra._formats.description import PresetDescription
from vertebra._resolve.preset_folder import PresetFolder, config_error

FORMATS: dict[str, ModuleType] = {module.NAME: module for module in (native, transformers, kerashub)}


def format_of(config: Mapping[str, Any]) -> ModuleType | None:
    """Returns the format module for a config, or None if no known format recognises it."""
    return next((module for module in FORMATS.values() if module.recognises(config)), None)


def read_description(folder: PresetFolder) -> PresetDescription:
    """Reads a preset's config in any known format.

    Raises:
        PresetConfigError: the config is in no known format, or unsound.
    """
    config = folder.config()
    module = format_of(config)
    if module is None:
        raise config_error(folder, f"it is in no known preset format ({', '.join(FORMATS)})")
    with folder.missing_files("files that its config needs"):
        description: PresetDescription = module.read(folder, config)
    return description
