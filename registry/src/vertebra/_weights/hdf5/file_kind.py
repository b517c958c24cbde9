"""The HDF5 kind of weights files, as Keras writes them: one file, or shards with an index.

What reads the files is imported only when one is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vertebra._weights.file_kind import FileKind, MappedFile
from vertebra._weights.tensor_entry import Header

HDF5_WEIGHTS = "model.weights.h5"
HDF5_INDEX = "model.weights.json"


class Hdf5Kind(FileKind):
    """HDF5 files with Keras's file names and shard index."""

    suffix = ".weights.h5"
    usual_shard = re.compile(r"model_\d{5}\.weights\.h5")
    lists_shards = True

    def indexed_as(self, tensor: str) -> str:
        """Returns the dataset's group, such as `/layers/dense/vars`: Keras indexes groups, and may split one."""
        return "/" + tensor.rpartition("/")[0]

    def current_name(self, tensor: str) -> str:
        """Replaces the name of the group of layers that Keras used up to 2.13."""
        return tensor.replace("_layer_checkpoint_dependencies", "layers")

    def headers(self, paths: Sequence[Path]) -> list[Header]:
        from vertebra._weights.hdf5.mapping import open_hdf5_headers

        return open_hdf5_headers(paths)

    def map(self, paths: Sequence[Path], copy: bool = False) -> Sequence[MappedFile]:
        from vertebra._weights.hdf5.mapping import map_hdf5

        return map_hdf5(paths, copy)


HDF5 = Hdf5Kind(HDF5_WEIGHTS, HDF5_INDEX)
