"""The kind of weights files that torch.save writes: one file, or shards with an index."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from vertebra._weights.file_kind import FileKind
from vertebra._weights.pickles.mapping import map_pickle, notes_of
from vertebra._weights.safetensors.format import MappedTensors
from vertebra._weights.tensor_entry import Header

PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"


class PickleKind(FileKind):
    """Pickles with transformers' file names and shard index."""

    suffix = ".bin"
    usual_shard = re.compile(r"pytorch_model-\d{5}-of-\d{5}\.bin")
    lists_shards = False

    def indexed_as(self, tensor: str) -> str:
        return tensor

    def current_name(self, tensor: str) -> str:
        return tensor

    def notes(self, metadata: Mapping[str, str]) -> list[str]:
        return notes_of(metadata)

    def headers(self, paths: Sequence[Path]) -> list[Header]:
        return [mapped.header for mapped in self.map(paths)]

    def map(self, paths: Sequence[Path], copy: bool = False) -> list[MappedTensors]:
        return [map_pickle(path) for path in paths]
