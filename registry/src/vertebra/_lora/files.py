"""Adapter files: a PEFT folder, or the same tensors in one safetensors file that also carries the settings.

Tensors have PEFT's names, `base_model.model.<module>.lora_A.weight`. Whatever else was made trainable is in the file
under the name of its tensor in a transformers checkpoint, or of its layer where the architecture has no such name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from vertebra._atomic import destination, replacing_file, replacing_folder
from vertebra._documents import dump_json, parse_json, read_json
from vertebra._lora.attach import Attached
from vertebra._lora.naming import AdapterNames
from vertebra._lora.peft import CONFIG, TENSORS, config_from_peft, config_to_peft
from vertebra._weights.naming import weight_names
from vertebra._weights.safetensors import MappedTensors, layout_of, write_tensors
from vertebra.errors import AdapterMismatchError, LoraConfigError, PresetNotFoundError, PresetSaveError
from vertebra.specs import LoraConfig

if TYPE_CHECKING:
    import numpy as np

PREFIX = "base_model.model."
_SETTINGS = "vertebra.adapter"
_BASE = "vertebra.base"
_ADAPTER = ".lora_"


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """An adapter as it stands on disk."""

    path: Path
    config: LoraConfig
    base: str | None
    """Fingerprint of the base weights it was trained on, if the file knows it."""
    adapters: dict[str, dict[str, np.ndarray[Any, Any]]]
    """Tensors of each adapted layer, by path of the layer and name in the file."""
    others: dict[str, np.ndarray[Any, Any]]
    """Values of base weights that were trained, by weight."""


def save_adapter(backbone: Any, attached: Attached, filepath: str | Path) -> None:
    """Writes an adapter; `Backbone.save_lora_weights` documents it."""
    target = destination(filepath)
    names = AdapterNames(backbone)
    arrays = _collect(backbone, attached, names)
    settings = json.dumps({name: getattr(attached.config, name) for name in LoraConfig.__slots__})
    metadata = {"format": "pt", _SETTINGS: settings, _BASE: attached.base or ""}
    if target.suffix == ".safetensors":
        with replacing_file(target) as stage:
            _write(stage, arrays, metadata)
    elif target.suffix in (".h5", ".bin", ".pt"):
        raise PresetSaveError(
            target, f"{target.suffix} adapters are not written", "Name a .safetensors file or a folder"
        )
    else:
        _check_folder(target)
        with replacing_folder(target) as stage:
            _write(stage / TENSORS, arrays, metadata)
            (stage / CONFIG).write_bytes(dump_json(config_to_peft(backbone, attached, names)))


def read_adapter(backbone: Any, filepath: str | Path) -> AdapterFile:
    """Reads an adapter and finds the layer of each tensor; nothing in it is imported, resolved or run.

    Raises:
        PresetNotFoundError: nothing is there.
        WeightsFileError: the file is unsound.
        LoraConfigError: a setting is out of range or unknown.
        AdapterMismatchError: a tensor belongs to no layer of the backbone.
    """
    path = Path(os.path.expanduser(filepath))  # noqa: PTH111 (Path's raises for unknown users)
    if os.path.isdir(path):  # noqa: PTH112 (Path's raises for names that are too long)
        tensors = MappedTensors(path / TENSORS)
        config = config_from_peft(path / CONFIG, read_json(path / CONFIG) if (path / CONFIG).is_file() else None)
    elif os.path.isfile(path):  # noqa: PTH113 (as above)
        tensors = MappedTensors(path)
        config = _settings(path, tensors.header.metadata)
    else:
        raise PresetNotFoundError(filepath, "no adapter file or folder is there")
    adapters, others = _sort(path, tensors, AdapterNames(backbone))
    return AdapterFile(path, config, tensors.header.metadata.get(_BASE), adapters, others)


def _collect(backbone: Any, attached: Attached, names: AdapterNames) -> dict[str, tuple[Any, bool]]:
    """Returns, for each tensor of the file, its variable and whether its axes are reversed there."""
    arrays: dict[str, tuple[Any, bool]] = {}
    held: set[int] = set()
    for path, adapter in attached.adapters.items():
        for tensor, variable in adapter.strategy.tensors(adapter.site).items():
            arrays[f"{PREFIX}{names.module(path)}.{tensor}"] = (getattr(adapter, variable), True)
            held.add(id(getattr(adapter, variable)))
    for name, variable in weight_names(backbone).items():
        if variable.trainable and id(variable) not in held:
            rule = names.rule(name)
            arrays[PREFIX + rule.tensor] = (variable, rule.transpose)
    return arrays


def _write(path: Path, arrays: Mapping[str, tuple[Any, bool]], metadata: Mapping[str, str]) -> None:
    layouts = {
        name: layout_of(name, str(variable.dtype), tuple(reversed(variable.shape) if flip else variable.shape))
        for name, (variable, flip) in arrays.items()
    }
    write_tensors(path, {name: _reader(*source) for name, source in arrays.items()}, layouts, metadata)


def _reader(variable: Any, flip: bool) -> Callable[[], np.ndarray[Any, Any]]:
    def read() -> np.ndarray[Any, Any]:
        array: np.ndarray[Any, Any] = keras.ops.convert_to_numpy(variable.value)
        return array.T if flip else array

    return read


def _check_folder(target: Path) -> None:
    if target.is_file():
        raise PresetSaveError(target, "a file stands there", "Name a .safetensors file, or another folder")
    if target.is_dir() and any(item.name not in (CONFIG, TENSORS, "README.md") for item in target.iterdir()):
        raise PresetSaveError(target, "the folder holds other things", "Choose a new folder, or one with an adapter")


def _settings(path: Path, metadata: Mapping[str, str]) -> LoraConfig:
    expected = "settings that save_lora_weights wrote; for PEFT's adapter_model.safetensors, pass its folder"
    if _SETTINGS not in metadata:
        raise LoraConfigError(path, _SETTINGS, None, expected)
    fields = parse_json(
        metadata[_SETTINGS].encode(), lambda problem: LoraConfigError(path, _SETTINGS, problem, expected)
    )
    if fields.keys() != set(LoraConfig.__slots__):
        raise LoraConfigError(path, _SETTINGS, sorted(fields), f"the fields {', '.join(LoraConfig.__slots__)}")
    return LoraConfig(**fields)


def _sort(path: Path, tensors: MappedTensors, names: AdapterNames) -> tuple[dict[str, Any], dict[str, Any]]:
    adapters: dict[str, dict[str, Any]] = {}
    others: dict[str, Any] = {}
    unknown = []
    for name in tensors.header.entries:
        plain = name.removeprefix(PREFIX)
        module, found, tensor = plain.partition(_ADAPTER)
        layer = names.layer(module) if found else None
        weight = None if found else names.weight(plain)
        if layer is not None:
            adapters.setdefault(layer, {})[f"lora_{tensor}"] = tensors.view(name)
        elif weight is not None:
            others[weight] = tensors.view(name).T if names.rule(weight).transpose else tensors.view(name)
        else:
            unknown.append(name)
    if unknown:
        raise AdapterMismatchError(path, "holds tensors for which the backbone has no layer", unknown)
    if not adapters:
        raise AdapterMismatchError(path, "holds no LoRA tensors")
    return adapters, others
