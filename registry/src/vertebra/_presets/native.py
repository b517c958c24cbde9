"""The native format: `config.json`, `metadata.json`, and weights named by the layers that hold them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._documents import dump_json
from vertebra._presets.contents import PresetContents
from vertebra._presets.folder import CONFIG, PresetFolder, config_error
from vertebra._weights.checkpoint import INDEX, WEIGHTS
from vertebra._weights.safetensors import TensorEntry, layout_of, write_order, write_tensors

if TYPE_CHECKING:
    import numpy as np

NAME = "native"
METADATA = "metadata.json"
_VERSION = 1
_FIELDS = {"vertebra_format": int, "backbone": str, "config": dict}
_GIGABYTE = 10**9


def recognises(config: Mapping[str, Any]) -> bool:
    """Says whether a preset's config is of this format."""
    return "vertebra_format" in config


def read(folder: PresetFolder, config: Mapping[str, Any]) -> PresetContents:
    """Reads what a native config says.

    Raises:
        PresetConfigError: a field is missing, unknown or of another type, or the version is newer than this one.
    """
    for field, kind in _FIELDS.items():
        if type(config.get(field)) is not kind:
            raise config_error(folder, f"{field} is {config.get(field)!r}, expected a value of type {kind.__name__}")
    extra = sorted(config.keys() - _FIELDS.keys())
    if extra:
        raise config_error(folder, f"it has unknown fields: {', '.join(extra)}")
    if config["vertebra_format"] != _VERSION:
        found = config["vertebra_format"]
        raise config_error(folder, f"vertebra_format is {found}, and this version reads {_VERSION}", "Update vertebra")
    return PresetContents(NAME, folder, config["backbone"], dict(config["config"]))


def write(backbone: Any, weights: Mapping[str, Any], stage: Path, max_shard_size: float | None) -> None:
    """Writes a backbone's config, metadata and weights into an empty folder.

    Args:
        backbone: The backbone.
        weights: Its variables by name.
        stage: The folder.
        max_shard_size: Most gigabytes (10⁹ bytes) in a weights file, or None for no limit.
    """
    config = {"vertebra_format": _VERSION, "backbone": type(backbone).__name__, "config": plain_config(backbone)}
    (stage / CONFIG).write_bytes(dump_json(config))
    (stage / METADATA).write_bytes(dump_json(_metadata(weights)))
    layouts = {name: layout_of(name, str(variable.dtype), tuple(variable.shape)) for name, variable in weights.items()}
    arrays = {name: _reader(variable) for name, variable in weights.items()}
    write_weights(stage, arrays, layouts, max_shard_size)


def write_weights(
    stage: Path,
    arrays: Mapping[str, Callable[[], np.ndarray[Any, Any]]],
    layouts: Mapping[str, TensorEntry],
    max_shard_size: float | None,
) -> None:
    """Writes weights as one file, or as shards with an index if they are larger than `max_shard_size` gigabytes."""
    shards = _split(write_order(layouts.values()), max_shard_size)
    names = [WEIGHTS] if len(shards) == 1 else [_shard_name(number, len(shards)) for number in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        inside = {entry.name: layouts[entry.name] for entry in shard}
        write_tensors(stage / name, arrays, inside, {"format": "pt"})  # readers of the format expect this key
    if len(shards) > 1:
        weight_map = {entry.name: name for name, shard in zip(names, shards, strict=True) for entry in shard}
        total = sum(entry.size for entry in layouts.values())
        (stage / INDEX).write_bytes(dump_json({"metadata": {"total_size": total}, "weight_map": weight_map}))


def _split(entries: list[TensorEntry], max_shard_size: float | None) -> list[list[TensorEntry]]:
    limit = float("inf") if max_shard_size is None else max_shard_size * _GIGABYTE
    shards: list[list[TensorEntry]] = [[]]
    size = 0
    for entry in entries:
        if shards[-1] and size + entry.size > limit:
            shards.append([])
            size = 0
        shards[-1].append(entry)
        size += entry.size
    return shards


def _shard_name(number: int, count: int) -> str:
    return f"model-{number + 1:05}-of-{count:05}.safetensors"


def plain_config(backbone: Any) -> dict[str, Any]:
    """The constructor's arguments, without the dtype: floats follow the dtype policy of whoever loads them."""
    return {name: value for name, value in backbone.get_config().items() if name != "dtype"}


def _reader(variable: Any) -> Callable[[], np.ndarray[Any, Any]]:
    import keras

    return lambda: keras.ops.convert_to_numpy(variable.value)


def _metadata(weights: Mapping[str, Any]) -> dict[str, Any]:
    import keras

    return {
        "vertebra_version": metadata.version("vertebra"),
        "keras_version": keras.version(),
        "runtime": keras.config.backend(),
        "parameter_count": sum(_size(variable) for variable in weights.values()),
        "date_saved": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _size(variable: Any) -> int:
    size = 1
    for length in variable.shape:
        size *= length
    return size
