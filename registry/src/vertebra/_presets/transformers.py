"""The transformers format: a `config.json` with a `model_type`, and safetensors weights named by torch modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra._documents import dump_json
from vertebra._presets.contents import PresetContents
from vertebra._presets.draft import PresetDraft
from vertebra._presets.folder import CONFIG, PresetFolder
from vertebra._presets.foreign import express, find_owner, load_translation, translation_for
from vertebra._weights.writing import Tensors, write_safetensors

NAME = "transformers"
_TIED = "tie_word_embeddings"


def recognises(config: Mapping[str, Any]) -> bool:
    """Says whether a preset's config is of this format."""
    return "model_type" in config


def read(folder: PresetFolder, config: Mapping[str, Any]) -> PresetContents:
    """Reads what a transformers config says, through the translation of the architecture that owns its model type.

    Raises:
        PresetConfigError: no installed backbone reads the model type, or a field cannot be honoured.
    """
    owner = find_owner(folder, NAME, "model_type", config["model_type"])
    translation = load_translation(owner.value, NAME)
    untied = f"{_TIED}=false in {CONFIG}" if config.get(_TIED) is False else None
    return PresetContents(NAME, folder, owner.name, translation.arguments(config), translation, untied=untied)


def write(draft: PresetDraft, stage: Path, max_shard_size: float | None) -> None:
    """Writes config and weights as transformers does.

    Raises:
        PresetFormatError: no plugin says how the class is written in this format.
        FormatLimitError: the format cannot hold something that the draft has.
    """
    _, translation = translation_for(draft.backbone, NAME)
    config, tensors = express(draft, NAME, translation)
    (stage / CONFIG).write_bytes(dump_json(config | {"dtype": _widest(tensors)}))
    write_safetensors(tensors, stage, max_shard_size)


def _widest(tensors: Tensors) -> str:
    """The dtype that transformers loads all tensors in."""
    sizes = {entry.dtype: len(entry.dtype) for entry in tensors.layouts.values()}
    return "float32" if "float32" in sizes or len(sizes) > 1 else next(iter(sizes))
