"""The native format: `config.json`, `metadata.json`, and weights named by the layers that hold them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from vertebra._formats.description import PresetDescription
from vertebra._formats.export import PresetExport
from vertebra._formats.migration import METADATA, WRITER, migrate, owner_of
from vertebra._resolve.preset_folder import PresetFolder, config_error
from vertebra._system.strict_json import dump_json
from vertebra._weights.safetensors.file_kind import SAFETENSORS
from vertebra._weights.writing import write_safetensors
from vertebra.file_names import CONFIG

NAME = "native"
FILES = SAFETENSORS
"""The kind of weights file."""
WRITES = (CONFIG, METADATA)
"""Files that `write` writes in addition to the weights."""
KEEPS_CONFIG = False
"""Whether a conversion keeps the config for its unread fields; no: unknown fields are refused."""
_VERSION = 1
_FIELDS = {"vertebra_format": int, "backbone": str, "config": dict}
_BACKBONE_VERSION = "backbone_version"
"""The version of the class's arguments; versions above 1 are written."""


def recognises(config: Mapping[str, Any]) -> bool:
    """Says whether a config is in this format."""
    return "vertebra_format" in config


def reads_tokenizer(_tokenizer: Mapping[str, Any]) -> bool:
    """Says whether readers of this format understand a `tokenizer.json`; they ignore it, so any is accepted."""
    return True


def read(folder: PresetFolder, config: Mapping[str, Any], _asked: type | None = None) -> PresetDescription:
    """Reads a native config, which names its class.

    Raises:
        PresetConfigError: a field is missing, unknown or of a wrong type, or a version is not supported.
        PluginError: the plugin fails to migrate a config of an older version.
    """
    for field, kind in _FIELDS.items():
        if type(config.get(field)) is not kind:
            raise config_error(folder, f"{field} is {config.get(field)!r}, expected a value of type {kind.__name__}")
    extra = sorted(config.keys() - {*_FIELDS, _BACKBONE_VERSION})
    if extra:
        raise config_error(folder, f"it has unknown fields: {', '.join(extra)}")
    if config["vertebra_format"] != _VERSION:
        problem = f"vertebra_format is {config['vertebra_format']}, and this version of vertebra reads {_VERSION}"
        raise config_error(folder, problem, "Update vertebra")
    version = config.get(_BACKBONE_VERSION, 1)
    if type(version) is not int or version < 1:
        raise config_error(folder, f"{_BACKBONE_VERSION} is {version!r}, expected an int of at least 1")
    arguments, renamed = migrate(folder, config["backbone"], dict(config["config"]), version)
    return PresetDescription(NAME, folder, config["backbone"], arguments, renamed=renamed)


def write(export: PresetExport, stage: Path, max_shard_size: float | None) -> list[str]:
    """Writes config, metadata and weights into an empty folder.

    Args:
        export: The preset to write.
        stage: The folder.
        max_shard_size: Most gigabytes (10⁹ bytes) in a weights file, or None for no limit.

    Returns:
        The fields of `export.original` that were left out; none, because this format keeps no original config.
    """
    entry = owner_of(export.backbone)
    version = {_BACKBONE_VERSION: entry.value.version} if entry and entry.value.version > 1 else {}
    config = {"vertebra_format": _VERSION, "backbone": export.backbone, **version, "config": export.config}
    (stage / CONFIG).write_bytes(dump_json(config))
    (stage / METADATA).write_bytes(dump_json(_metadata(export)))
    write_safetensors(export.tensors, stage, max_shard_size)
    return []


def _metadata(export: PresetExport) -> dict[str, Any]:
    import keras

    entry = owner_of(export.backbone)
    plugin = {"distribution": entry.owner.distribution, "version": entry.owner.version} if entry else {}
    return {
        **({WRITER: plugin} if plugin.get("version") else {}),  # a plugin of a notebook has no version
        "vertebra_version": metadata.version("vertebra"),
        "keras_version": keras.version(),
        "runtime": keras.config.backend(),
        "parameter_count": sum(math.prod(entry.shape) for entry in export.tensors.layouts.values()),
        "date_saved": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
