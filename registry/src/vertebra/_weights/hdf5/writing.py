"""Writes weights, tensor by tensor, as Keras's HDF5 files: one file, or shards with an index.

Datasets are contiguous and aligned, so that they can be viewed in the mapped file. A full disk raises an ordinary
OSError, because the HDF5 library only lays out the file in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._system.strict_json import dump_json
from vertebra._weights.hdf5.file_kind import HDF5_INDEX, HDF5_WEIGHTS
from vertebra._weights.hdf5.layout import lay_out
from vertebra._weights.safetensors.writing import write_tensor
from vertebra._weights.tensor_entry import TensorEntry, layout_of
from vertebra._weights.together.parts import saving_of, write_together
from vertebra._weights.writing import Tensors, split

if TYPE_CHECKING:
    import numpy as np


def write_hdf5(tensors: Tensors, stage: Path, max_shard_size: float | None) -> None:
    """Writes weights as one file, or as shards with an index if they are larger than `max_shard_size` gigabytes.

    Raises:
        OSError: a file could not be written, as on a full disk.
    """
    shards = split(list(tensors.layouts.values()), max_shard_size)
    names = [HDF5_WEIGHTS] if len(shards) == 1 else [f"model_{number:05}.weights.h5" for number in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        _write_file(stage / name, shard, tensors.arrays)
    if len(shards) > 1:
        (stage / HDF5_INDEX).write_bytes(dump_json(_index(names, shards)))


def write_datasets(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Writes arrays as the datasets of one file.

    Raises:
        OSError: the file could not be written, as on a full disk.
    """
    import numpy as np

    entries = [layout_of(name, array.dtype.name, array.shape) for name, array in arrays.items()]
    _write_file(path, entries, {name: partial(np.asarray, array) for name, array in arrays.items()})


def _write_file(
    path: Path, entries: Iterable[TensorEntry], arrays: Mapping[str, Callable[[], np.ndarray[Any, Any]]]
) -> None:
    layout = lay_out(entries)
    saving = saving_of(arrays.values())
    if saving is not None:
        write_together(saving, path.name, layout.size, layout.metadata, layout.datasets, arrays)
        return
    with path.open("wb") as file:
        for position, metadata in layout.metadata:
            file.seek(position)
            file.write(metadata)
        for dataset in layout.datasets:
            file.seek(dataset.start)
            write_tensor(file, dataset, arrays[dataset.name])
        file.truncate(layout.size)


def _index(names: list[str], shards: list[list[TensorEntry]]) -> dict[str, Any]:
    """Returns the shard index: for each group of variables, by path, the list of the files that hold it."""
    weight_map: dict[str, list[str]] = {}
    for name, shard in zip(names, shards, strict=True):
        for entry in shard:
            files = weight_map.setdefault(f"/{entry.name.rpartition('/')[0]}", [])
            files.extend([name] if name not in files else [])
    total = sum(entry.size for shard in shards for entry in shard)
    return {"metadata": {"total_size": total}, "weight_map": weight_map}
