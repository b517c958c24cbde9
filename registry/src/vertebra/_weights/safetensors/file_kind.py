"""The safetensors kind of weights files: one file, or shards with an index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vertebra._weights.file_kind import FileKind
from vertebra._weights.safetensors.format import MappedTensors, header_end, open_header
from vertebra._weights.tensor_entry import Header

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


class SafetensorsKind(FileKind):
    """safetensors files with transformers' file names and shard index."""

    suffix = ".safetensors"
    usual_shard = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
    lists_shards = False
    header_comes_first = True

    def indexed_as(self, tensor: str) -> str:
        return tensor

    def current_name(self, tensor: str) -> str:
        return tensor

    def header_end(self, first: bytes) -> int:
        return header_end(first)

    def headers(self, paths: Sequence[Path]) -> list[Header]:
        return [open_header(path) for path in paths]

    def map(self, paths: Sequence[Path], copy: bool = False) -> list[MappedTensors]:
        return [MappedTensors(path, copy=copy) for path in paths]


SAFETENSORS = SafetensorsKind(WEIGHTS, INDEX)
