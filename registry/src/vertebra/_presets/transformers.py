"""The transformers format: a `config.json` with a `model_type`, and safetensors weights named by torch modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra._catalog import BACKBONES, Entry, catalog
from vertebra._presets.contents import PresetContents
from vertebra._presets.folder import PresetFolder, config_error
from vertebra.interfaces import Translation
from vertebra.specs import BackboneSpec, resolve_reference

NAME = "transformers"


def recognises(config: Mapping[str, Any]) -> bool:
    """Says whether a preset's config is of this format."""
    return "model_type" in config


def read(folder: PresetFolder, config: Mapping[str, Any]) -> PresetContents:
    """Reads what a transformers config says, through the translation of the architecture that owns its model type.

    Raises:
        PresetConfigError: no installed backbone reads the model type, or a field cannot be honoured.
    """
    model_type = config["model_type"]
    claims = [entry for entry in catalog(BACKBONES).claims() if model_type in _identifiers(entry)]
    if len(claims) != 1:
        known = sorted(name for entry in catalog(BACKBONES) for name in _identifiers(entry))
        owners = " and ".join(str(entry.owner) for entry in claims) or "no installed backbone"
        raise config_error(
            folder,
            f"model_type {model_type!r} is read by {owners}; those that can be read: {', '.join(known)}",
            "Install a plugin for this architecture, or block one of its owners",
        )
    translation = load_translation(claims[0].value)
    return PresetContents(NAME, folder, claims[0].name, translation.arguments(config), translation)


def load_translation(spec: BackboneSpec) -> Translation:
    """Imports the translation between this format and an architecture."""
    translation: Translation = resolve_reference(spec.formats[NAME].translation)()
    return translation


def _identifiers(entry: Entry[BackboneSpec]) -> tuple[str, ...]:
    return entry.value.formats[NAME].identifiers if NAME in entry.value.formats else ()
