"""The preset formats, by name, and which one a preset is in."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from vertebra._formats import kerashub, native, transformers
from vertebra._formats.description import PresetDescription
from vertebra._resolve.preset_folder import PresetFolder, config_error

FORMATS: dict[str, ModuleType] = {module.NAME: module for module in (native, transformers, kerashub)}


def format_of(config: Mapping[str, Any]) -> ModuleType | None:
    """Returns the module of the format that a config is in, or None if it is in none that is known."""
    return next((module for module in FORMATS.values() if module.recognises(config)), None)


def read_description(folder: PresetFolder) -> PresetDescription:
    """Reads a preset's config in whichever format it is.

    Raises:
        PresetConfigError: it is of no known format, or unsound.
    """
    config = folder.config()
    module = format_of(config)
    if module is None:
        raise config_error(folder, f"it is of no known preset format ({', '.join(FORMATS)})")
    with folder.missing_files("what its config needs"):
        description: PresetDescription = module.read(folder, config)
    return description
