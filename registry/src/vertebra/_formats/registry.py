"""The registry of preset formats: format modules by name, and detection of a preset's format."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any

from vertebra._formats import kerashub, native, transformers
from vertebra._formats.description import PresetDescription
from vertebra._formats.subfolders import no_config
from vertebra._resolve.preset_folder import CONFIG, PresetFolder, config_error

FORMATS: dict[str, ModuleType] = {module.NAME: module for module in (native, transformers, kerashub)}


def format_of(config: Mapping[str, Any]) -> ModuleType | None:
    """Returns the format module for a config, or None if no known format recognises it."""
    return next((module for module in FORMATS.values() if module.recognises(config)), None)


def read_description(folder: PresetFolder) -> PresetDescription:
    """Reads a preset's config in any known format.

    Raises:
        PresetNotFoundError: there is no config; the error names the subfolders that hold a preset.
        PresetConfigError: the config is in no known format, or unsound, or a field that matters has two values.
    """
    if CONFIG not in folder.listed_names and folder.is_complete:
        raise no_config(folder, lambda config: format_of(config) is not None)
    document = folder.config()
    module = format_of(document.value)
    if module is None:
        raise config_error(folder, f"it is in no known preset format ({', '.join(FORMATS)})")
    if module is native:
        document.require_strict()
    with folder.missing_files("files that its config needs"):
        description: PresetDescription = document.read(partial(module.read, folder), _meaning)
    if document.other is not None:
        text = "%s: its %s has values that are not clear, in fields that are not used: %s"
        logging.getLogger("vertebra").warning(text, folder.handle, CONFIG, document.doubts_text)
    return description


def _meaning(description: PresetDescription) -> tuple[object, ...]:
    """Returns what a config says about a preset."""
    refine = description.refine  # two partial functions are never equal, but their arguments are
    return description.backbone, description.arguments, description.untied, getattr(refine, "args", refine)
