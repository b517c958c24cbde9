"""Adapter files: detect the format when reading, and choose it by the file name when writing.

The short form is one safetensors file: the adapter's variables and its co-trained weights, by their names in the
model, with the plan as metadata. The other formats are PEFT's folders and KerasHub's `.lora.h5` files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra import _arguments
from vertebra._lora.files.adapter_data import _BASE, AdapterData, AdapterFile, base_of, write_arrays
from vertebra._lora.plan import AdapterPlan, plan_as_data, plan_from_data
from vertebra._system.atomic_save import destination, replacing_file, replacing_folder
from vertebra._system.file_identity import identity_at
from vertebra._system.strict_json import parse_json
from vertebra._system.user_paths import full_path
from vertebra._weights.safetensors.format import MappedTensors, open_header
from vertebra._weights.tensor_entry import Header
from vertebra.errors import (
    AdapterNotFoundError,
    LoraConfigError,
    PresetSaveError,
    VertebraError,
    WeightsFileError,
)

if TYPE_CHECKING:
    from vertebra._lora.layers.adapter_layers import Values

SUFFIX = ".safetensors"
KERASHUB_SUFFIX = ".lora.h5"
_ATTEMPTS = 12
_SETTINGS = "vertebra.adapter"
_MODEL = "vertebra.model"
_INFIX = "/lora/"


def read_adapter(model: Any, filepath: str | Path) -> AdapterFile:
    """Reads an adapter for a model; nothing in the file is imported, resolved or executed.

    Raises:
        AdapterNotFoundError: the path does not exist.
        WeightsFileError: the file is corrupt.
        LoraConfigError: a setting is out of range or unknown.
        AdapterMismatchError: the file holds no adapter for this model.
    """
    path = existing(filepath)
    if path.is_dir():
        from vertebra._lora.files.peft import FILES, read_peft

        return _of_one_version([path / name for name in FILES], partial(read_peft, model, path))
    if path.name.endswith(".h5"):
        from vertebra._lora.files.kerashub import read_kerashub

        return read_kerashub(model, path)
    return _read_short(path)


def _of_one_version(paths: Sequence[Path], read: Callable[[], AdapterFile]) -> AdapterFile:
    """Reads files that belong together; retries if one of them is replaced during the read.

    Raises:
        WeightsFileError: a file was replaced in every attempt.
    """
    for _ in range(_ATTEMPTS):
        before = [identity_at(path) for path in paths]
        try:
            file = read()
        except (VertebraError, OSError):
            if [identity_at(path) for path in paths] == before:
                raise
        else:
            if [identity_at(path) for path in paths] == before:
                return file
    raise WeightsFileError(
        paths[0].parent, "it was replaced during each read", "Try again when no process writes to it"
    )


def write_adapter(model: Any, filepath: str | Path, plan: AdapterPlan, data: AdapterData) -> None:
    """Writes an adapter in the format that the path's name implies.

    Raises:
        PresetSaveError: the file cannot be written; existing files are unchanged.
        LoraConfigError: the format cannot represent the adapter.
    """
    target = destination(filepath)
    if target.name.endswith(KERASHUB_SUFFIX):
        from vertebra._lora.files.kerashub import write_kerashub

        with replacing_file(target) as stage:
            write_kerashub(model, stage, plan, data)
    elif target.suffix == SUFFIX:
        with replacing_file(target) as stage:
            _write_short(model, stage, plan, data)
    elif target.suffix in (".h5", ".bin", ".pt", ".ckpt"):
        remedy = f"Name a {SUFFIX} file, a {KERASHUB_SUFFIX} file, or a folder"
        raise PresetSaveError(target, f"adapters are not written as {target.suffix}", remedy)
    else:
        from vertebra._lora.files.peft import FILES, write_peft

        _check_folder(target, FILES)
        with replacing_folder(target) as stage:
            write_peft(model, stage, plan, data)


def existing(filepath: str | Path) -> Path:
    """Returns the full path of an existing adapter.

    Raises:
        ArgumentError: `filepath` is not a path.
        AdapterNotFoundError: the path does not exist.
    """
    path = full_path(_arguments.path("Loading an adapter", "filepath", filepath))
    if not os.path.exists(path):  # noqa: PTH110 (Path.exists raises for names that are too long)
        raise AdapterNotFoundError(filepath)
    return path


def short_header(path: Path) -> tuple[Header, AdapterPlan]:
    """Returns header and plan of a file in the short form, without reading its values.

    Raises:
        WeightsFileError: the file is corrupt.
        LoraConfigError: the file is not in the short form, or a setting is out of range.
    """
    header = open_header(path)
    return header, _settings(path, header.metadata)


def model_of(header: Header) -> str | None:
    """Returns the name of the class that the adapter in a file was saved from."""
    return header.metadata.get(_MODEL)


def _read_short(path: Path) -> AdapterFile:
    from vertebra._lora.layers.adapter_layers import SHARED  # not at the top: headers are read without a framework

    tensors = MappedTensors(path)
    plan = _settings(path, tensors.header.metadata)
    values: Values = {}
    co_trained = {}
    for name in tensors.header.entries:
        layer, inside, variable = name.rpartition(_INFIX)
        if name.startswith(f"{SHARED}{_INFIX}") or (inside and layer in plan.layers):
            values.setdefault(layer, {})[variable] = tensors.view(name)
        else:
            co_trained[name] = tensors.view(name)
    return AdapterFile(path, plan, values, base_of(tensors.header), co_trained)


def _write_short(model: Any, stage: Path, plan: AdapterPlan, data: AdapterData) -> None:
    arrays = {f"{path}{_INFIX}{name}": array for path, own in data.values.items() for name, array in own.items()}
    settings = json.dumps(plan_as_data(plan))
    metadata = {"format": "pt", _SETTINGS: settings, _BASE: data.base or "", _MODEL: type(model).__name__}
    write_arrays(stage, arrays | data.co_trained, metadata)


def _settings(path: Path, metadata: Mapping[str, str]) -> AdapterPlan:
    expected = "settings that save_lora_weights wrote; for PEFT's adapter_model.safetensors, pass its folder"
    if _SETTINGS not in metadata:
        raise LoraConfigError(path, _SETTINGS, None, expected)
    data = parse_json(metadata[_SETTINGS].encode(), lambda problem: LoraConfigError(path, _SETTINGS, problem, expected))
    return plan_from_data(path, data)


def _check_folder(target: Path, own: tuple[str, ...]) -> None:
    if target.is_file():
        raise PresetSaveError(target, "a file has this path", f"Name a {SUFFIX} file, or another folder")
    if target.is_dir() and any(item.name not in (*own, "README.md") for item in target.iterdir()):
        raise PresetSaveError(target, "the folder has other files", "Choose a new folder, or one with an adapter")
