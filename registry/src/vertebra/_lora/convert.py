"""The conversion of adapters, which alone reads pickles: `vertebra lora convert`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from vertebra._lora.files.adapter_data import write_arrays
from vertebra._lora.files.adapter_files import AdapterFiles, read_files
from vertebra._lora.files.describe import describe_peft
from vertebra._lora.files.dispatch import peft_folder, read_adapter
from vertebra._system.atomic_save import replacing_folder
from vertebra._system.strict_json import limited_bytes
from vertebra.errors import LoraStateError
from vertebra.file_names import ADAPTER_CONFIG, ADAPTER_PICKLE, ADAPTER_TENSORS
from vertebra.specs import LoraReceipt


def load_to_convert(model: Any, adapter: str | Path, *, check_base: bool, strict: bool) -> LoraReceipt:
    """Loads an adapter as `vertebra.lora.load`, also one whose tensors are a pickle; see there for the errors."""
    from vertebra._lora import enable as enabling  # needs a framework
    from vertebra._lora.choices.calls import changing, reading

    with reading(model):
        file = read_adapter(model, adapter, pickles=True)
    with changing(model):
        return enabling.load(model, file, None, check_base, strict)


def rewrite_pickle(adapter: str | Path, target: str | Path) -> list[str]:
    """Writes the tensors of an adapter in PEFT's format as safetensors, and its config as it is; needs no base.

    Args:
        adapter: The path or handle of a folder with adapter_model.bin.
        target: The folder to write.

    Returns:
        Notes on the pickle.

    Raises:
        AdapterNotFoundError: there is no adapter at the path or handle.
        LoraStateError: another conversion is asked for, which needs the base.
        LoraConfigError: a setting is missing, out of range or unknown.
        WeightsFileError: the pickle is corrupt, or holds more than tensors and plain values.
        PresetSaveError: the folder cannot be written; existing files are unchanged.
    """
    return read_files(adapter, partial(_rewrite, target=target), pickles=True)


def _rewrite(files: AdapterFiles, target: str | Path) -> list[str]:
    folder = peft_folder(target) if files.is_pickled else None
    if folder is None:
        problem = f"Without a base, only a folder with {ADAPTER_PICKLE} can be converted, and to a folder"
        raise LoraStateError(problem, "Name the base model of the adapter, with --base PRESET")
    config, pickle = files.fetch()
    tensors = files.map_tensors(pickle)
    describe_peft(files, config, tensors.header)  # its errors come before the folder is written
    with replacing_folder(folder) as stage:
        arrays = {name: tensors.view(name) for name in tensors.header.entries}
        write_arrays(stage / ADAPTER_TENSORS, arrays, {"format": "pt"})
        (stage / ADAPTER_CONFIG).write_bytes(limited_bytes(config))
        files.check_read([config, pickle])
    return files.pickle_notes(tensors.header)
