"""The preset formats, by name, and which one a preset is in."""

from __future__ import annotations

from types import ModuleType

from vertebra._presets import kerashub, native, transformers
from vertebra._presets.contents import PresetContents
from vertebra._presets.folder import PresetFolder, config_error

FORMATS: dict[str, ModuleType] = {module.NAME: module for module in (native, transformers, kerashub)}


def read_contents(folder: PresetFolder) -> PresetContents:
    """Reads a preset's config in whichever format it is.

    Raises:
        PresetConfigError: it is of no known format, or unsound.
    """
    config = folder.config()
    for module in FORMATS.values():
        if module.recognises(config):
            with folder.lacking("what its config needs"):
                contents: PresetContents = module.read(folder, config)
            return contents
    raise config_error(folder, f"it is of no known preset format ({', '.join(FORMATS)})")
