"""KerasHub's format: a `config.json` with a `registered_name`, and HDF5 weights named by the attributes of layers."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vertebra._formats.architecture import find_owner
from vertebra._formats.description import PresetDescription
from vertebra._formats.export import PresetExport
from vertebra._formats.kerashub_quantized import as_quantized, is_readable, modes_of
from vertebra._formats.translation import express, load_translation, translation_for
from vertebra._resolve.preset_folder import PresetFolder, config_error, origin_of
from vertebra._system.strict_json import dump_json
from vertebra._weights.hdf5.file_kind import HDF5
from vertebra._weights.writing import Tensors
from vertebra.file_names import CONFIG
from vertebra.specs import BackboneSpec

NAME = "kerashub"
FILES = HDF5
"""The kind of weights file."""
_METADATA = "metadata.json"
WRITES = (CONFIG, _METADATA)
"""Files that `write` writes in addition to the weights."""
KEEPS_CONFIG = False
"""Whether a conversion keeps the config for its unread fields; no: translations refuse arguments they do not know."""
_BASE_FIELDS = ("name", "trainable")


def recognises(config: Mapping[str, Any]) -> bool:
    """Says whether a config is in this format."""
    return "registered_name" in config


def reads_tokenizer(tokenizer: Mapping[str, Any]) -> bool:
    """Says whether readers of this format understand a `tokenizer.json`: KerasHub's is the config of a Keras object."""
    return recognises(tokenizer)


def read(folder: PresetFolder, config: Mapping[str, Any], asked: type | None = None) -> PresetDescription:
    """Reads KerasHub's config as data: its registered name is looked up among the installed backbones, not imported.

    Args:
        folder: The preset.
        config: Its config.
        asked: The class that the user asked for, or None for any: it decides between several owners.

    Raises:
        PresetConfigError: no installed backbone has the registered name, or a field cannot be honoured.
    """
    owner = find_owner(folder, NAME, "registered_name", config["registered_name"], asked)
    inner = config.get("config")
    if not isinstance(inner, dict):
        raise config_error(folder, f"config is {inner!r}, expected a table of the constructor's arguments")
    base = {name: inner[name] for name in _BASE_FIELDS if name in inner}
    translation = load_translation(owner, NAME, origin_of(folder))
    mode = _mode(folder, inner.get("dtype"))
    own = {name: value for name, value in inner.items() if name not in (*_BASE_FIELDS, "dtype")}
    arguments = base | translation.arguments(own)
    difference = translation.difference(arguments)
    description = PresetDescription(
        NAME, folder, owner.value.name, arguments, translation, FILES, difference=difference
    )
    return description if mode is None else replace(description, refine=partial(as_quantized, mode))


def write(export: PresetExport, stage: Path, max_shard_size: float | None) -> list[str]:
    """Writes config, metadata and weights in KerasHub's format.

    Returns:
        The fields of `export.original` that were left out; none, because this format keeps no original config.

    Raises:
        PresetFormatError: no plugin has a translation of the class to this format.
        FormatLimitError: the format cannot represent the export.
    """
    from vertebra._weights.hdf5.writing import write_hdf5

    config, tensors = expressed(export)
    (stage / CONFIG).write_bytes(dump_json(config))
    (stage / _METADATA).write_bytes(dump_json(_metadata(tensors)))
    write_hdf5(tensors, stage, max_shard_size)
    return []


def expressed(export: PresetExport) -> tuple[dict[str, Any], Tensors]:
    """Returns the config and the tensors of an export in KerasHub's format; raises the errors of `write`."""
    spec, translation = translation_for(export.backbone, NAME)
    config, tensors = express(export, NAME, translation)
    base = {name: export.config[name] for name in _BASE_FIELDS if name in export.config}
    return _envelope(spec, base | {"dtype": _policy(tensors)} | config), tensors


def _mode(folder: PresetFolder, dtype: Any) -> str | None:
    """Returns the quantisation mode of a dtype policy, or None for floats, which follow the user's own dtype policy."""
    modes = modes_of(dtype)
    if len(modes) > 1 or not all(map(is_readable, modes)):
        remedy = "Load it in KerasHub and save it in floats, or quantised as int8 or int4 alone"
        raise config_error(folder, f"its dtype policies {', '.join(sorted(modes))} are not supported", remedy)
    return modes.pop() if modes else None


def _envelope(spec: BackboneSpec, inner: dict[str, Any]) -> dict[str, Any]:
    registered = spec.formats[NAME].identifiers[0]
    return {
        "module": "keras_hub.models",
        "class_name": registered.rpartition(">")[2],
        "config": inner,
        "registered_name": registered,
    }


def _policy(tensors: Tensors) -> dict[str, Any]:
    dtypes = sorted({entry.dtype for entry in tensors.layouts.values()})
    name = dtypes[0] if len(dtypes) == 1 else "float32"
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": name}, "registered_name": None}


def _metadata(tensors: Tensors) -> dict[str, Any]:
    import keras

    return {
        "keras_version": keras.version(),
        "parameter_count": sum(math.prod(entry.shape) for entry in tensors.layouts.values()),
        "date_saved": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d@%H:%M:%S"),
    }
