"""Adapter files: detect the format when reading, and choose it by the file name when writing.

The short form is one safetensors file: the adapter's variables and its co-trained weights, by their names in the
model, with the plan as metadata. The other formats are PEFT's folders and KerasHub's `.lora.h5` files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._lora.files.adapter_data import _BASE, AdapterData, AdapterFile, base_of, write_arrays
from vertebra._lora.files.adapter_files import KERASHUB, PEFT, AdapterFiles, read_files
from vertebra._lora.plan import AdapterPlan, plan_as_data, plan_from_data
from vertebra._resolve.lockfile import check_unlocked
from vertebra._system.atomic_save import destination
from vertebra._system.strict_json import parse_json
from vertebra._weights.safetensors.format import MappedTensors, open_header
from vertebra._weights.tensor_entry import Header
from vertebra._weights.together.parts import PartsOf, Steps, gathering
from vertebra._weights.together.stages import replacing_by_all
from vertebra.errors import LoraConfigError, PresetSaveError, close_names
from vertebra.file_names import ADAPTER_CONFIG, ADAPTER_TENSORS, WEIGHTS_SUFFIXES

if TYPE_CHECKING:
    from vertebra._lora.layers.adapter_layers import Values

SUFFIX = ".safetensors"
KERASHUB_SUFFIX = ".lora.h5"
_OTHER_SUFFIXES = (*WEIGHTS_SUFFIXES, ".gz", ".json", ".tar", ".yaml", ".zip")
"""Endings of files, in lower case; any other ending, such as that of `bert-v1.5`, is part of a folder's name."""
_SETTINGS = "vertebra.adapter"
_MODEL = "vertebra.model"
_INFIX = "/lora/"


def read_adapter(model: Any, adapter: str | Path, locked: bool | None = None, pickles: bool = False) -> AdapterFile:
    """Reads an adapter for a model; nothing in the file is imported, resolved or executed.

    Args:
        model: The model.
        adapter: A path or handle.
        locked: Whether the adapter must match the lockfile; None means as in the settings.
        pickles: Whether the tensors of PEFT's format may be in a pickle.

    Raises:
        AdapterNotFoundError: there is no adapter at the path or handle.
        WeightsFileError: the file is corrupt.
        LoraConfigError: a setting is out of range or unknown.
        AdapterMismatchError: the file holds no adapter for this model.
        PresetError: as for `read_files`.
    """

    def read(files: AdapterFiles) -> AdapterFile:
        paths = files.fetch()
        file = _read(model, files, paths)
        files.check_read(paths)
        return file

    check_unlocked(locked, "load_lora_weights")
    return read_files(adapter, read, locked, pickles)


def _read(model: Any, files: AdapterFiles, paths: Sequence[Path]) -> AdapterFile:
    if files.format == PEFT:
        from vertebra._lora.files.peft import read_peft

        return read_peft(model, files, *paths)
    (path,) = paths
    if files.format == KERASHUB:
        from vertebra._lora.files.kerashub import read_kerashub

        return read_kerashub(model, files, path)
    return _read_short(files, path)


def write_adapter(
    model: Any,
    filepath: str | Path,
    plan: AdapterPlan,
    data: Callable[[], AdapterData],
    steps: Steps,
    parts_of: PartsOf,
) -> None:
    """Writes an adapter in the format that the path's name implies; all processes of a mesh call this.

    Args:
        model: The model.
        filepath: The file or folder.
        plan: The plan of the adapter.
        data: Returns its values, as whole arrays.
        steps: The steps of the processes.
        parts_of: Returns the parts of a tensor that this process is to write.

    Raises:
        PresetSaveError: the file cannot be written; existing files are unchanged.
        LoraConfigError: the format cannot represent the adapter.
        MeshError: another process failed, or is gone; existing files are unchanged.
    """
    folder = peft_folder(filepath)
    target = folder or destination(filepath)
    mesh = getattr(model, "_mesh", None)
    with (
        replacing_by_all(target, steps, parts_of, is_file=folder is None) as (stage, saving),
        gathering(saving, mesh, parts_of),
    ):
        _writer(folder, target)(model, stage, plan, data())


def _writer(folder: Path | None, target: Path) -> Callable[[Any, Path, AdapterPlan, AdapterData], None]:
    if folder is not None:
        from vertebra._lora.files.peft import write_peft

        return write_peft
    if target.name.endswith(KERASHUB_SUFFIX):
        from vertebra._lora.files.kerashub import write_kerashub

        return write_kerashub
    return _write_short


def peft_folder(filepath: str | Path) -> Path | None:
    """Returns the folder in PEFT's format that a path implies, or None if the path is that of a file.

    Raises:
        PresetSaveError: the path has the ending of another file, or is that of a folder with other files.
    """
    target = destination(filepath)
    if target.name.endswith(KERASHUB_SUFFIX) or target.suffix == SUFFIX:
        return None
    if target.suffix.lower() in _OTHER_SUFFIXES or close_names(target.suffix, [SUFFIX]):
        remedy = f"Name a {SUFFIX} file, a {KERASHUB_SUFFIX} file, or a folder"
        raise PresetSaveError(target, f"adapters are not written as {target.suffix}", remedy)
    _check_folder(target, (ADAPTER_CONFIG, ADAPTER_TENSORS))
    return target


def short_header(source: str, path: Path) -> tuple[Header, AdapterPlan]:
    """Returns header and plan of a file in the short form, without reading its values.

    Args:
        source: The path or handle of the adapter, for messages.
        path: The file.

    Raises:
        WeightsFileError: the file is corrupt.
        LoraConfigError: the file is not in the short form, or a setting is out of range.
    """
    header = open_header(path)
    return header, _settings(source, header.metadata)


def model_of(header: Header) -> str | None:
    """Returns the name of the class that the adapter in a file was saved from."""
    return header.metadata.get(_MODEL)


def _read_short(files: AdapterFiles, path: Path) -> AdapterFile:
    from vertebra._lora.layers.adapter_layers import SHARED  # not at the top: headers are read without a framework

    tensors = MappedTensors(path)
    plan = _settings(files.source, tensors.header.metadata)
    values: Values = {}
    co_trained = {}
    for name in tensors.header.entries:
        layer, inside, variable = name.rpartition(_INFIX)
        if name.startswith(f"{SHARED}{_INFIX}") or (inside and layer in plan.layers):
            values.setdefault(layer, {})[variable] = tensors.view(name)
        else:
            co_trained[name] = tensors.view(name)
    return AdapterFile(files, plan, values, base_of(tensors.header), co_trained)


def _write_short(model: Any, stage: Path, plan: AdapterPlan, data: AdapterData) -> None:
    arrays = {f"{path}{_INFIX}{name}": array for path, own in data.values.items() for name, array in own.items()}
    settings = json.dumps(plan_as_data(plan))
    metadata = {"format": "pt", _SETTINGS: settings, _BASE: data.base or "", _MODEL: type(model).__name__}
    write_arrays(stage, arrays | data.co_trained, metadata)


def _settings(source: str, metadata: Mapping[str, str]) -> AdapterPlan:
    expected = f"settings that save_lora_weights wrote; for PEFT's {ADAPTER_TENSORS}, pass its folder"
    if _SETTINGS not in metadata:
        raise LoraConfigError(source, _SETTINGS, ..., expected, "Pass a file that is an adapter in the short form")
    data = parse_json(
        metadata[_SETTINGS].encode(), lambda problem: LoraConfigError(source, _SETTINGS, problem, expected)
    )
    return plan_from_data(source, data)


def _check_folder(target: Path, own: tuple[str, ...]) -> None:
    if target.is_file():
        raise PresetSaveError(target, "a file has this path", f"Name a {SUFFIX} file, or another folder")
    if target.is_dir() and any(item.name not in (*own, "README.md") for item in target.iterdir()):
        raise PresetSaveError(target, "the folder has other files", "Choose a new folder, or one with an adapter")
