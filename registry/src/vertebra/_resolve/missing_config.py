"""What a folder without `config.json` is instead: an adapter, which is loaded onto a preset."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from vertebra._resolve.candidates import suggested_handles
from vertebra.errors import VertebraError
from vertebra.file_names import ADAPTER_CONFIG, ADAPTER_SUFFIXES, adapter_folders

_ONTO = "backbone.load_lora_weights({!r})"


def describe(
    requested: str, names: Collection[str], is_file: bool, read: Callable[[str], Mapping[str, Any]]
) -> tuple[str, str]:
    """Returns a description of the files in place of a preset, and a remedy, which is empty if they are unknown.

    Args:
        requested: The id, handle or path that the user wrote.
        names: Names of the files.
        is_file: Whether the path leads to a file.
        read: Reads a JSON file by name.
    """
    if ADAPTER_CONFIG in names:
        base = _base(read)
        preset = next(iter(suggested_handles(base)), base) if base else "BASE"
        of = f" of {base!r}" if base else ""
        load = f"backbone = vertebra.Backbone.from_preset({preset!r}); {_ONTO.format(requested)}"
        return f"it is an adapter{of} in PEFT's format, and no whole model", f"Load it onto its base: {load}"
    if is_file:
        load = f"If it is an adapter, load it onto its base: {_ONTO.format(requested)}"
        return "it is a file, and a preset is a folder", load if requested.endswith(ADAPTER_SUFFIXES) else ""
    inside = adapter_folders(names)
    if inside:
        return f"it has no config.json, but adapters in its subfolders: {', '.join(inside)}", ""
    return "it has no config.json", ""


def _base(read: Callable[[str], Mapping[str, Any]]) -> str | None:
    """Returns the base that PEFT's config names."""
    try:
        base = read(ADAPTER_CONFIG).get("base_model_name_or_path")
    except (VertebraError, OSError):
        return None
    return base if isinstance(base, str) and base else None
