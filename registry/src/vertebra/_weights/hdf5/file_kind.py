"""HDF5 weights as Keras writes them: one file, or shards and an index that agree."""

from __future__ import annotations

import re

from vertebra._weights.checkpoint import FileKind
from vertebra._weights.hdf5.mapping import map_hdf5, open_hdf5_headers

HDF5_WEIGHTS = "model.weights.h5"
HDF5_INDEX = "model.weights.json"


def _group(dataset: str) -> str:
    """An index maps groups that hold datasets, such as `/layers/dense/vars`, and a group may lie in several shards."""
    return "/" + dataset.rpartition("/")[0]


def _current_name(dataset: str) -> str:
    """Up to Keras 2.13, the layers of a model were kept under another name."""
    return dataset.replace("_layer_checkpoint_dependencies", "layers")


HDF5 = FileKind(
    weights=HDF5_WEIGHTS,
    index=HDF5_INDEX,
    suffix=".weights.h5",
    usual_shard=re.compile(r"model_\d{5}\.weights\.h5"),
    lists_shards=True,
    indexed_as=_group,
    current_name=_current_name,
    header_end=None,
    headers=open_hdf5_headers,
    map=map_hdf5,
)
