"""`GgufFormat`: a GGUF file as a preset, with its config, its tensors and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra import FileFormat, FileHeader, FileTensor

if TYPE_CHECKING:
    import numpy as np


class GgufFormat(FileFormat):
    """Reads GGUF files of version 2 and 3, little-endian, in one piece.

    What reads them is imported only when one is read.
    """

    name = "gguf"
    suffix = ".gguf"

    def header_end(self, first: bytes) -> int:
        from vertebra_gguf.reading.container import header_end

        return header_end(first)

    def header(self, path: Path, data: memoryview) -> FileHeader:
        from vertebra_gguf.preset import read_preset

        return read_preset(path, data)

    def decode(self, tensor: FileTensor, data: memoryview) -> np.ndarray[Any, Any]:
        from vertebra_gguf.reading.decoding import decode

        return decode(tensor, data)
