"""Writing weights, tensor by tensor, as Keras's HDF5 files: one, or shards with an index.

Datasets are contiguous and aligned, so that they can be viewed in the file.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._documents import dump_json
from vertebra._weights.hdf5 import HDF5_INDEX, HDF5_WEIGHTS
from vertebra._weights.safetensors import ALIGNMENT, TensorEntry
from vertebra._weights.writing import Tensors, split

if TYPE_CHECKING:
    import h5py
    import numpy as np


def write_hdf5(tensors: Tensors, stage: Path, max_shard_size: float | None) -> None:
    """Writes weights as one file, or as shards with an index if they are larger than `max_shard_size` gigabytes."""
    import h5py

    shards = split(list(tensors.layouts.values()), max_shard_size)
    names = [HDF5_WEIGHTS] if len(shards) == 1 else [f"model_{number:05}.weights.h5" for number in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        with _disk_errors(), h5py.File(stage / name, "w", alignment_threshold=1, alignment_interval=ALIGNMENT) as file:
            for entry in shard:
                _write_dataset(file, entry, tensors)
    if len(shards) > 1:
        (stage / HDF5_INDEX).write_bytes(dump_json(_index(names, shards)))


def write_datasets(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Writes some arrays as one file."""
    import h5py

    with _disk_errors(), h5py.File(path, "w", alignment_threshold=1, alignment_interval=ALIGNMENT) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    """The library says in words what the operating system said in numbers, and not always as an OSError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        said = re.search(r"errno = (\d+)", str(error))
        if said is None:
            raise
        raise OSError(int(said[1]), os.strerror(int(said[1]))) from error


def _write_dataset(file: h5py.File, entry: TensorEntry, tensors: Tensors) -> None:
    array = tensors.arrays[entry.name]()
    dataset = file.create_dataset(entry.name, data=array)
    if entry.dtype == "bfloat16":  # HDF5 has no such type: Keras stores the bytes, and says so
        dataset.attrs["dtype"] = entry.dtype


def _index(names: list[str], shards: list[list[TensorEntry]]) -> dict[str, Any]:
    """Keras looks groups of variables up by path; one that lies in several files has a list of them."""
    weight_map: dict[str, list[str]] = {}
    for name, shard in zip(names, shards, strict=True):
        for entry in shard:
            files = weight_map.setdefault(f"/{entry.name.rpartition('/')[0]}", [])
            files.extend([name] if name not in files else [])
    total = sum(entry.size for shard in shards for entry in shard)
    return {"metadata": {"total_size": total}, "weight_map": weight_map}
