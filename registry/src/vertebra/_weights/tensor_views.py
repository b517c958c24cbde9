"""Mappings of tensors by name, each viewed in its file when it is looked up; and single files of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._weights.hdf5.file_kind import HDF5
from vertebra._weights.safetensors.file_kind import SAFETENSORS
from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import layout_of
from vertebra.errors import WeightsFileError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_HDF5_SUFFIX, _SAFETENSORS_SUFFIX = ".h5", ".safetensors"


class TensorViews(Mapping[str, "Array"]):
    """Some tensors of a file or checkpoint, by name; each is viewed when it is looked up."""

    def __init__(self, names: Iterable[str], view: Callable[[str], Array]) -> None:
        self._names, self._view = dict.fromkeys(names), view

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._view(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_file(path: Path, name: str) -> TensorViews:
    """Returns the tensors of one file; `vertebra.tasks.read_tensors` documents it.

    Args:
        path: The file; in a cache, its name is a hash.
        name: The name that it has in its preset.
    """
    if not name.endswith((_HDF5_SUFFIX, _SAFETENSORS_SUFFIX)):
        raise WeightsFileError(path, f"{name} is neither a {_SAFETENSORS_SUFFIX} nor a {_HDF5_SUFFIX} file")
    mapped = (HDF5 if name.endswith(_HDF5_SUFFIX) else SAFETENSORS).map([path])[0]
    return TensorViews(mapped.header.entries, mapped.view)


def write_file(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes arrays as a safetensors or HDF5 file; `vertebra.tasks.write_tensors` documents it."""
    import numpy as np

    if path.name.endswith(_HDF5_SUFFIX):
        from vertebra._weights.hdf5.writing import write_datasets

        write_datasets(path, arrays)
    else:
        layout = {name: layout_of(name, array.dtype.name, array.shape) for name, array in arrays.items()}
        read = {name: partial(np.asarray, array) for name, array in arrays.items()}
        write_tensors(path, read, layout, {"format": "pt"})  # transformers expects this key
