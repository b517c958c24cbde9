"""The transformers format: a `config.json` with a `model_type`, and safetensors weights named by torch modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vertebra._formats.architecture import find_owner
from vertebra._formats.carried_fields import with_carried_fields
from vertebra._formats.description import PresetDescription
from vertebra._formats.export import PresetExport
from vertebra._formats.translation import express, load_translation, translation_for
from vertebra._resolve.preset_folder import PresetFolder, origin_of
from vertebra._system.strict_json import dump_json
from vertebra._weights.safetensors.file_kind import SAFETENSORS
from vertebra._weights.tensor_entry import layout_of
from vertebra._weights.writing import Tensors, write_safetensors
from vertebra.file_names import CONFIG
from vertebra.specs import TaskExport

NAME = "transformers"
FILES = SAFETENSORS
"""The kind of weights file."""
WRITES = (CONFIG,)
"""Files that `write` writes in addition to the weights."""
KEEPS_CONFIG = True
"""Whether a conversion keeps the config for its unread fields, such as token ids and label names; yes."""
_MODEL_FIELDS = ("architectures", "model_type")
"""Fields that name the model class; the translation writes the class of the base model."""
_DTYPE_FIELDS = ("dtype", "torch_dtype")
"""Fields that name the dtype of the tensors: the present and the former field name."""
_TIED = "tie_word_embeddings"
_HEAD = "ForCausalLM"
_ENDS = ("Model", _HEAD)
"""Ends of the names of classes for which translations write: those of the decoder with the head, if it is not tied."""


def recognises(config: Mapping[str, Any]) -> bool:
    """Says whether a config is in this format."""
    return _identifier(config) is not None


def _identifier(config: Mapping[str, Any]) -> object:
    return config.get("model_type")


def reads_tokenizer(tokenizer: Mapping[str, Any]) -> bool:
    """Says whether readers of this format understand a `tokenizer.json`: not the config of a Keras object."""
    return "registered_name" not in tokenizer


def read(folder: PresetFolder, config: Mapping[str, Any], asked: type | None = None) -> PresetDescription:
    """Reads a transformers config with the translation of the architecture that owns its model type.

    Args:
        folder: The preset.
        config: Its config.
        asked: The class that the user asked for, or None for any: it decides between several owners.

    Raises:
        PresetConfigError: no installed backbone reads the model type, or a field cannot be honoured.
    """
    owner = find_owner(folder, NAME, "model_type", config["model_type"], asked)
    translation = load_translation(owner, NAME, origin_of(folder))
    untied = f"{_TIED}=false in {CONFIG}" if config.get(_TIED) is False else None
    return PresetDescription(NAME, folder, owner.value.name, translation.arguments(config), translation, untied=untied)


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
    config, left_out = with_carried_fields(
        written, export.original, _identifier, translation.arguments, _MODEL_FIELDS, _DTYPE_FIELDS
    )
    if export.task is not None:
        # A backbone with the matrix of a head is written with the prefix already.
        tensors = tensors if _has_head(written) else _with_prefix(tensors, export.task, translation.prefixes)
        tensors = _with_head(tensors, export.task)
        config = _of_task(config, export.task)
        left_out = [name for name in left_out if name not in config]
    (stage / CONFIG).write_bytes(dump_json(config | {"dtype": _config_dtype(tensors)}))
    write_safetensors(tensors, stage, max_shard_size)
    return left_out


def _of_task(written: Mapping[str, Any], task: TaskExport) -> dict[str, Any]:
    """Returns a config with the fields of a task, and the class with its head."""
    names = (str(name) for name in written.get("architectures") or ())
    bases = [next((name.removesuffix(end) for end in _ENDS if name.endswith(end)), name) for name in names]
    fields = {
        **written,
        **({"architectures": [base + task.model for base in bases]} if task.model else {}),
        **task.config,
    }
    return {name: value for name, value in fields.items() if name not in task.config or value is not None}


def _has_head(written: Mapping[str, Any]) -> bool:
    """Says whether a backbone's own config is that of a model with a head."""
    return any(str(name).endswith(_HEAD) for name in written.get("architectures") or ())


def _with_prefix(tensors: Tensors, task: TaskExport, prefixes: Sequence[str]) -> Tensors:
    """Returns the tensors of a backbone with the prefix that they have next to a head."""
    prefix = next(filter(None, prefixes), "") if task.model else ""
    layouts = {prefix + name: replace(entry, name=prefix + name) for name, entry in tensors.layouts.items()}
    return Tensors(layouts, {prefix + name: read for name, read in tensors.arrays.items()})


def _with_head(tensors: Tensors, task: TaskExport) -> Tensors:
    """Returns the tensors of a checkpoint with a head: the backbone's, and those of the head."""
    layouts, arrays = dict(tensors.layouts), dict(tensors.arrays)
    for name, array in task.tensors.items():
        layouts[name] = layout_of(name, array.dtype.name, array.shape)
        arrays[name] = partial(_same, array)
    return Tensors(layouts, arrays)


def _same(array: Any) -> Any:
    return array


def _config_dtype(tensors: Tensors) -> str:
    """Returns the dtype to name in the config, in which transformers loads all tensors: float32 if theirs differ."""
    sizes = {entry.dtype: len(entry.dtype) for entry in tensors.layouts.values()}
    return "float32" if "float32" in sizes or len(sizes) > 1 else next(iter(sizes))
