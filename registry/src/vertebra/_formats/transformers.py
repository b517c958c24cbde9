"""The transformers format: a `config.json` with a `model_type`, and safetensors weights named by torch modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra._formats.description import PresetDescription
from vertebra._formats.export import PresetExport
from vertebra._formats.translation import express, find_owner, load_translation, translation_for
from vertebra._resolve.preset_folder import PresetFolder, origin_of
from vertebra._system.foreign_json import is_json
from vertebra._system.strict_json import dump_json
from vertebra._weights.safetensors.file_kind import SAFETENSORS
from vertebra._weights.writing import Tensors, write_safetensors
from vertebra.file_names import CONFIG
from vertebra.translations import Translation

NAME = "transformers"
FILES = SAFETENSORS
"""The kind of weights file."""
WRITES = (CONFIG,)
"""Files that `write` writes in addition to the weights."""
KEEPS_CONFIG = True
"""Whether a conversion keeps the config for its unread fields, such as token ids and label names; yes."""
_MODEL_FIELDS = ("architectures", "model_type")
"""Fields that name the model class; the translation writes the class of the base model."""
_MOST_FIELDS = 1_000
"""Most fields of an original config that are tested one by one; real configs have about 100."""
_DTYPE_FIELDS = ("dtype", "torch_dtype")
"""Fields that name the dtype of the tensors: the present and the former field name."""
_TIED = "tie_word_embeddings"


def recognises(config: Mapping[str, Any]) -> bool:
    """Says whether a config is in this format."""
    return config.get("model_type") is not None


def reads_tokenizer(tokenizer: Mapping[str, Any]) -> bool:
    """Says whether readers of this format understand a `tokenizer.json`: not the config of a Keras object."""
    return "registered_name" not in tokenizer


def read(folder: PresetFolder, config: Mapping[str, Any]) -> PresetDescription:
    """Reads a transformers config with the translation of the architecture that owns its model type.

    Raises:
        PresetConfigError: no installed backbone reads the model type, or a field cannot be honoured.
    """
    owner = find_owner(folder, NAME, "model_type", config["model_type"])
    translation = load_translation(owner, NAME, origin_of(folder))
    untied = f"{_TIED}=false in {CONFIG}" if config.get(_TIED) is False else None
    return PresetDescription(NAME, folder, owner.name, translation.arguments(config), translation, untied=untied)


def write(export: PresetExport, stage: Path, max_shard_size: float | None) -> list[str]:
    """Writes config and weights in the transformers format.

    Returns:
        The fields of `export.original` that were left out.

    Raises:
        PresetFormatError: no plugin has a translation of the class to this format.
        FormatLimitError: the format cannot represent the export.
    """
    spec, translation = translation_for(export.backbone, NAME)
    written, tensors = express(export, NAME, translation)
    translation.check_identifier(written, "model_type", spec.formats[NAME].identifiers)
    carried, left_out = _carried_fields(written, export.original, translation)
    (stage / CONFIG).write_bytes(dump_json(written | carried | {"dtype": _config_dtype(tensors)}))
    write_safetensors(tensors, stage, max_shard_size)
    return left_out


def _carried_fields(
    written: Mapping[str, Any], original: Mapping[str, Any], translation: Translation
) -> tuple[dict[str, Any], list[str]]:
    """Returns the fields of the original config that are carried, and the names of those that are left out.

    No field is carried from another architecture's config, where it may have another meaning.

    A field is carried if the translation ignores it: the written config translates to the same arguments with the
    field's value and with an impossible value. A field that the translation reads is neither carried nor left out:
    the translation writes its meaning, perhaps in another field.
    """
    changed = {field for field in _MODEL_FIELDS if field in original and written.get(field) != original[field]}
    # Private fields are internal to transformers; before 5.3, it ran code that one of them named (CVE-2026-4372).
    left_out = [
        field for field in original if field.startswith("_") or field in changed or not is_json(original[field])
    ]
    if original and original.get("model_type") not in (None, written.get("model_type")):
        return {}, left_out + sorted(original.keys() - {*left_out, *_DTYPE_FIELDS})
    others = original.keys() - {*left_out, *_MODEL_FIELDS, *_DTYPE_FIELDS}
    arguments = _arguments_of(written, translation)
    if arguments is None or len(others) > _MOST_FIELDS:
        return {}, left_out + sorted(others - written.keys())

    def is_ignored(field: str) -> bool:
        values = (original[field], object())
        return all(_arguments_of({**written, field: value}, translation) == arguments for value in values)

    return {field: original[field] for field in original if field in others and is_ignored(field)}, left_out


def _arguments_of(config: Mapping[str, Any], translation: Translation) -> dict[str, Any] | None:
    """Returns the constructor arguments for a config, or None if the translation refuses the config."""
    try:
        return translation.arguments(config)
    except Exception:  # a plugin's translation may raise anything for a value that it does not expect
        return None


def _config_dtype(tensors: Tensors) -> str:
    """Returns the dtype to name in the config, in which transformers loads all tensors: float32 if theirs differ."""
    sizes = {entry.dtype: len(entry.dtype) for entry in tensors.layouts.values()}
    return "float32" if "float32" in sizes or len(sizes) > 1 else next(iter(sizes))
