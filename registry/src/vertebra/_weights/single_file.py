"""The kind of weights files that are whole presets, in a format of a plugin (`vertebra.FileFormat`).

The plugin's reader says where tensors are, which is checked before it is used.
"""

from __future__ import annotations

import math
import os
import re
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra._system.file_identity import Identity, identity_of
from vertebra._weights.file_kind import FileKind
from vertebra._weights.files import copy_privately, map_privately, open_file, release
from vertebra._weights.tensor_entry import Header, TensorEntry, itemsize, numpy_dtype
from vertebra.errors import PluginError, VertebraError, WeightsFileError, exception_text
from vertebra.errors.base import shown
from vertebra.interfaces import FileFormat
from vertebra.specs import FileHeader, FileTensor

if TYPE_CHECKING:
    import mmap

    import numpy as np

    Array = np.ndarray[Any, Any]

_DTYPES = re.compile(r"bool|(u?int)(8|16|32|64)|float(16|32|64)|bfloat16")
_MOST_DIMENSIONS = 16


class SingleFileKind(FileKind):
    """The one weights file of a preset that is a single file.

    Args:
        format: The format.
        owner: The distribution of the format, for messages.
        weights: Name of the file.
    """

    usual_shard = re.compile(r"(?!)")  # there are no shards
    lists_shards = False
    header_comes_first = True

    def __init__(self, format: FileFormat, owner: str, weights: str) -> None:
        super().__init__(weights, f"{weights}.index.json")
        self.format, self.owner = format, owner
        self.known: tuple[Identity | None, FileHeader] | None = None
        """The header of the file that was read, by its identity: a long one is read once."""

    def indexed_as(self, tensor: str) -> str:
        return tensor

    def current_name(self, tensor: str) -> str:
        return tensor

    def header_end(self, first: bytes) -> int:
        return int(self.ask("header_end", first))

    def headers(self, paths: Sequence[Path]) -> list[Header]:
        return [MappedSingleFile(path, self).header for path in paths]

    def map(self, paths: Sequence[Path], copy: bool = False) -> list[MappedSingleFile]:
        return [MappedSingleFile(path, self, copy) for path in paths]

    def notes(self, metadata: Mapping[str, str]) -> list[str]:
        return [] if self.known is None else list(self.known[1].notes)

    def ask(self, method: str, *arguments: object) -> Any:
        """Calls a method of the plugin's format.

        Raises:
            PluginError: the method fails with an exception of another kind than Vertebra's.
        """
        try:
            return getattr(self.format, method)(*arguments)
        except VertebraError:
            raise
        except Exception as error:
            problem = f"{method} of its format {self.format.name} failed ({exception_text(error)})"
            raise PluginError(self.owner, problem) from error


class MappedSingleFile:
    """A mapped file that is a whole preset: tensors are viewed in it, or decoded when they are read.

    Parts of one encoded tensor share its values, as long as something holds them.
    """

    def __init__(self, path: Path, kind: SingleFileKind, copy: bool = False) -> None:
        """Maps or copies the file at `path`, and reads its header.

        Raises:
            WeightsFileError: the file is unsound.
            PluginError: the format fails, or describes tensors that are not in the file.
        """
        self._kind, self._is_copy, self._decoded = kind, copy, weakref.WeakValueDictionary[str, "Array"]()
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            if not status.st_size:
                raise WeightsFileError(path, "it is empty", "Copy or download the file again")
            self._memory: mmap.mmap = (copy_privately if copy else map_privately)(path, file)
        identity = identity_of(status)
        self.contents = self._read(path, identity)
        self.header = _header(self.contents.tensors, identity)

    def _read(self, path: Path, identity: Identity) -> FileHeader:
        kind = self._kind
        if kind.known is not None and kind.known[0] == identity:
            return kind.known[1]
        with memoryview(self._memory) as data:
            contents = kind.ask("header", path, data)
        if not isinstance(contents, FileHeader):
            raise PluginError(kind.owner, f"header of its format {kind.format.name} returned {shown(contents)}")
        _check(kind, contents.tensors, len(self._memory))
        return contents

    def view(self, name: str) -> Array:
        """Returns a writable array of a tensor's values, which is a view of the file unless the tensor is encoded."""
        import numpy as np

        tensor = self.contents.tensors[name]
        if tensor.encoding is None:
            return np.ndarray(tensor.shape, numpy_dtype(tensor.dtype), buffer=self._memory, offset=tensor.start)
        array = self._decoded.get(name)
        if array is None:
            self._decoded[name] = array = self._decode(tensor)
        return array

    def _decode(self, tensor: FileTensor) -> Array:
        import numpy as np

        with memoryview(self._memory) as data, data[tensor.start : tensor.start + tensor.size] as stored:
            array = self._kind.ask("decode", tensor, stored)
        if not isinstance(array, np.ndarray) or array.dtype != numpy_dtype(tensor.dtype) or array.shape != tensor.shape:
            problem = f"decode of its format {self._kind.format.name} returned other values than {tensor.name!r} has"
            raise PluginError(self._kind.owner, problem)
        return array if array.base is None and array.flags.writeable else array.copy()  # parts share what owns memory

    def release(self) -> None:
        """Frees the memory pages of a mapping that were only read."""
        if not self._is_copy:
            release(self._memory)


def _header(tensors: Mapping[str, FileTensor], identity: Identity) -> Header:
    entries = {
        name: TensorEntry(name, one.dtype, tuple(one.shape), one.start, one.size, one.encoding is not None)
        for name, one in tensors.items()
    }
    return Header(entries, {}, identity)


def _check(kind: SingleFileKind, tensors: Mapping[str, FileTensor], size: int) -> None:
    """Checks that tensors are in a file of `size` bytes, whatever its plugin has checked.

    Raises:
        PluginError: one is not.
    """
    for name, one in tensors.items():
        fits = name == one.name and _DTYPES.fullmatch(one.dtype) and 0 <= one.start <= one.start + one.size <= size
        sizes = len(one.shape) <= _MOST_DIMENSIONS and all(type(count) is int and count >= 0 for count in one.shape)
        if not fits or not sizes or (one.encoding is None and one.size != math.prod(one.shape) * itemsize(one.dtype)):
            raise PluginError(kind.owner, f"its format {kind.format.name} describes {name!r} as {one!r}")
