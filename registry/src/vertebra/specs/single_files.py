"""What a `FileFormat` reads from the header of a file: small files, such as a config, and where its tensors are."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileTensor:
    """A tensor of a file that is a whole preset."""

    name: str
    """Its name in transformers' checkpoints of the architecture."""
    dtype: str
    """Keras name of the dtype of its values, once they are decoded."""
    shape: tuple[int, ...]
    """Its shape, once it is decoded."""
    start: int
    """Offset of its first byte in the file."""
    size: int
    """The bytes that it takes in the file."""
    encoding: Hashable = None
    """How `FileFormat.decode` makes its values of its bytes; None if the bytes are the values, in C order, which are
    viewed in the file."""


@dataclass(frozen=True, slots=True)
class FileHeader:
    """The header of a file that is a whole preset."""

    files: Mapping[str, bytes]
    """The small files that a preset of transformers has in their place, by name: `config.json`, and files of a
    tokenizer. They come before files of the same names next to the file."""
    tensors: Mapping[str, FileTensor]
    """The tensors by their names in transformers' checkpoints."""
    notes: tuple[str, ...] = ()
    """What the file has and a load does not read, such as a tokenizer of an unknown kind."""
