"""Tells the plugins that observe loads about a loaded preset or adapter."""

from __future__ import annotations

from vertebra._discovery.plugins import registry
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.user_warnings import warn
from vertebra.errors import exception_text
from vertebra.specs import LoadedPreset


def tell_observers(folder: PresetFolder, format: str, backbone: str, weights: bool = True) -> None:
    """Calls the plugins' `vertebra_preset_loaded` hooks.

    Args:
        folder: The preset's or adapter's files.
        format: Its format; of an adapter, with `lora:` before it.
        backbone: Name of the class.
        weights: Whether weights were loaded, too.
    """
    loaded = LoadedPreset(folder.requested, folder.handle, format, backbone, weights)
    for plugin, observe in registry().implementations("vertebra_preset_loaded"):
        try:
            observe(loaded=loaded)
        except Exception as error:  # a failing observer must not make the load fail
            warn(f"Plugin {plugin.name}: vertebra_preset_loaded failed ({exception_text(error)})")
