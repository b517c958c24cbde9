"""The program that reads a pickle of torch in a child process, because a pickle can run code.

Its only argument is a job, a JSON object from `mapping.py`. The pickle is its standard input. It writes the tensors to
standard output, as a safetensors file. Errors go to standard error; the status is 1 if it is refused, 2 if damaged.

A pickle names the functions that its reader calls. Here, each is one of `_NAMES`; other names are refused. torch writes
two forms: a zip archive with `data.pkl` and a file for each storage, `data/KEY`; and up to release 1.5, several pickles
and then the storages, each after its length.
"""

from __future__ import annotations

import codecs
import collections
import io
import json
import math
import mmap
import os
import pickle
import runpy
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

JOB = json.loads(sys.argv[1])
sys.path += JOB["search"]  # the interpreter is isolated: without this it can import only the standard library

import numpy as np  # noqa: E402

_DTYPES = {
    "bool": ("BOOL", 1),
    "uint8": ("U8", 1),
    "int8": ("I8", 1),
    "float8_e4m3fn": ("F8_E4M3", 1),
    "float8_e5m2": ("F8_E5M2", 1),
    "uint16": ("U16", 2),
    "int16": ("I16", 2),
    "float16": ("F16", 2),
    "bfloat16": ("BF16", 2),
    "uint32": ("U32", 4),
    "int32": ("I32", 4),
    "float32": ("F32", 4),
    "uint64": ("U64", 8),
    "int64": ("I64", 8),
    "float64": ("F64", 8),
}
"""Names in safetensors, and bytes of an item, of torch's dtypes."""
_STORAGES = {
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "IntStorage": "int32",
    "FloatStorage": "float32",
    "LongStorage": "int64",
    "DoubleStorage": "float64",
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MOST_DEPTH, _MOST_NAMES, _MOST_DIMENSIONS = 3, 20, 16
_DAMAGE = (EOFError, zipfile.BadZipFile, pickle.UnpicklingError, struct.error)


@dataclass(frozen=True, slots=True)
class Storage:
    """A row of items in the file."""

    key: str
    dtype: str | None
    """None for bytes; then each tensor has its own dtype."""
    count: int
    """Number of items."""
    start: int = 0
    """The first item, where it is part of another storage."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """The bytes of its values."""
        return math.prod(self.shape) * _DTYPES[self.dtype][1]


def main() -> None:
    """Does the job, and ends the process at once, without code that a damaged state could reach."""
    status = 0
    try:
        codecs.lookup("cp437")  # zipfile decodes names with it, and no module can be imported later
        runpy.run_path(JOB["limits"])["limit_resources"](JOB)
        memory = mmap.mmap(0, 0, access=mmap.ACCESS_READ)
        root, starts = (_read_zip if memory[:2] == b"PK" else _read_legacy)(memory)
        _write(*_state_dict(root), memory, starts)
        sys.stdout.flush()
    except Exception as error:
        sys.stderr.write(str(error) or type(error).__name__)
        sys.stderr.flush()
        status = 2 if isinstance(error, _DAMAGE) else 1
    os._exit(status)


# === The functions that a pickle may call ===


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *more: Any, dtype: str | None = None) -> Tensor:
    """Replaces `torch._utils._rebuild_tensor_v2`; further arguments are about gradients, and a view's negative sign."""
    _require(not any(more[2:]), "a tensor is a view that changes the sign of its values")
    _require(isinstance(storage, Storage), "a tensor has no storage")
    sizes = (offset, *shape, *strides)
    plain = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)
    _require(plain and len(shape) <= _MOST_DIMENSIONS, f"a tensor has shape {shape!r} and strides {strides!r}")
    _require(all(type(size) is int and 0 <= size < 2**63 for size in sizes), f"a tensor has sizes {sizes!r}")
    kind = dtype or storage.dtype
    if kind is None:
        raise ValueError("a tensor has no dtype")
    tensor = Tensor(storage, kind, offset, shape, strides)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    count = storage.count if storage.dtype else storage.count // _DTYPES[kind][1]
    _require(not math.prod(shape) or last < count, f"a tensor ends at item {last} of a storage of {count}")
    return tensor


def _tensor_of_dtype(*arguments: Any) -> Tensor:
    """Replaces `torch._utils._rebuild_tensor_v3`: two arguments about gradients come before the dtype."""
    storage, offset, shape, strides, _, _, dtype, *more = arguments
    _require(isinstance(dtype, str) and dtype in _DTYPES, f"a tensor has dtype {dtype!r}")
    return _tensor(storage, offset, shape, strides, None, None, *more, dtype=dtype)


def _parameter(data: Any, *_: Any) -> Any:
    """Replaces `torch._utils._rebuild_parameter`."""
    return data


def _with_attributes(function: Any, _kind: Any, arguments: Any, _attributes: Any) -> Any:
    """Replaces `torch._tensor._rebuild_from_type_v2`, for a tensor with attributes of the user's own."""
    _require(function in (_tensor, _tensor_of_dtype, _parameter), "a tensor is made by another function")
    return function(*arguments)


def _nothing(*_: Any) -> None:
    """Replaces classes and devices."""


_NAMES: dict[str, Any] = {
    "collections.OrderedDict": collections.OrderedDict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch.Tensor": _nothing,
    "torch.nn.parameter.Parameter": _nothing,
    "torch.device": _nothing,
    "torch.Size": tuple,
    "torch.storage.UntypedStorage": "",
    **{f"torch.{name}": dtype for name, dtype in _STORAGES.items()},
    **{f"torch.{dtype}": dtype for dtype in _DTYPES},
}
"""The values by which the names in a pickle are replaced."""


class _Unpickler(pickle.Unpickler):
    """Reads a pickle of which every name is in `_NAMES`."""

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full not in _NAMES:
            raise ValueError(f"it holds more than tensors: reading {full} could run code, and is refused")
        return _NAMES[full]

    def persistent_load(self, pid: Any) -> Storage:
        known = isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], str)
        _require(known and isinstance(pid[2], str) and type(pid[4]) is int, f"it refers to {str(pid)[:100]}")
        start = pid[5][1] if len(pid) > 5 and pid[5] is not None else 0
        return Storage(pid[2], pid[1] or None, pid[4], start)


# === The two forms ===

Starts = Callable[[Storage], int]
"""Returns the offset of a storage in the file."""


def _file() -> BinaryIO:
    """Returns the pickle, from its beginning, as a file object."""
    file = open(0, "rb", closefd=False)  # noqa: SIM115
    file.seek(0)
    return file


def _read_zip(memory: mmap.mmap) -> tuple[Any, Starts]:
    _require(zipfile.is_zipfile(_file()), "it is truncated: its zip archive ends after the file", EOFError)
    listed = zipfile.ZipFile(_file()).infolist()
    members = {info.filename: info for info in listed}
    _require(len(members) == len(listed), "two of its members have one name")
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    _require(len(pickles) == 1, "it is a zip archive without data.pkl, and not a file of torch.save")
    root = pickles[0].partition("/")[0]
    order = members.get(f"{root}/byteorder")
    little = order is None or memory[slice(*_range(memory, order))] == b"little"
    _require(little, "its numbers are not little-endian")

    def start_of(storage: Storage) -> int:
        name = f"{root}/data/{storage.key}"
        _require(name in members, f"it has no storage {storage.key!r}")
        start, end = _range(memory, members[name])
        needed = storage.count * (_DTYPES[storage.dtype][1] if storage.dtype else 1)
        _require(end - start >= needed, f"the storage {storage.key!r} has {end - start} bytes, expected {needed}")
        return start

    start, end = _range(memory, members[pickles[0]])
    return _Unpickler(io.BytesIO(memory[start:end])).load(), start_of


def _range(memory: mmap.mmap, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Returns the range of a member of a zip archive, which must not be compressed."""
    header = memory[info.header_offset : info.header_offset + 30]
    _require(header[:4] == b"PK\x03\x04" and info.compress_type == zipfile.ZIP_STORED, f"{info.filename} is compressed")
    name, extra = struct.unpack("<HH", header[26:30])
    start = info.header_offset + 30 + name + extra
    _require(start + info.file_size <= len(memory), f"it is truncated: {info.filename} ends after the file", EOFError)
    return start, start + info.file_size


def _read_legacy(memory: mmap.mmap) -> tuple[Any, Starts]:
    file = _file()
    magic, _, system = (_Unpickler(file).load() for _ in range(3))
    _require(magic == _LEGACY_MAGIC, "it is a pickle, but not a file of torch.save")
    _require(isinstance(system, dict) and system.get("little_endian", True), "its numbers are not little-endian")
    root = _Unpickler(file).load()
    keys = _Unpickler(file).load()
    _require(isinstance(keys, list), "its list of storages is missing")
    items = _item_sizes(root)
    counts, starts = {}, {}
    position = file.tell()
    for key in keys:
        _require(key in items and position + 8 <= len(memory), f"it is truncated, or {key!r} is unused", EOFError)
        (count,) = struct.unpack("<q", memory[position : position + 8])
        counts[key], starts[key] = count, position + 8
        position += 8 + count * items[key]
        _require(count >= 0 and position <= len(memory), f"it is truncated: {key!r} ends after the file", EOFError)

    def start_of(storage: Storage) -> int:
        end = storage.start + storage.count
        _require(end <= counts.get(storage.key, 0), f"the storage {storage.key!r} has fewer than {end} items")
        return starts[storage.key] + storage.start * items[storage.key]

    return root, start_of


def _item_sizes(root: Any) -> dict[str, int]:
    """Returns the bytes of an item in each storage that a value refers to."""
    sizes, left, seen = {}, [root], set()
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            sizes[value.storage.key] = _DTYPES[value.storage.dtype][1] if value.storage.dtype else 1
        elif isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value
    return sizes


# === The tensors ===


def _state_dict(root: Any) -> tuple[str, dict[str, Any]]:
    """Returns the one table in a pickle that has tensors by name, after the key under which it is.

    If several have tensors, those with dotted names, such as modules give, come before others, such as random states.
    """
    tables = dict(_tables(root, ""))
    modules = {key: table for key, table in tables.items() if any("." in name for name in _tensors(table))}
    found = modules or tables
    value = f"a {type(root).__name__}" if root else f"an empty {type(root).__name__}"
    _require(bool(found), f"it holds no tensors by name: its value is {value}")
    _require(len(found) == 1, f"it holds several sets of tensors, under the keys {', '.join(map(repr, found))}")
    return next(iter(found.items()))


def _tables(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each table with strings as keys that holds tensors, with its path."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return
    if _tensors(value):
        yield path, value
    if path.count("/") < _MOST_DEPTH:
        for key, inner in value.items():
            yield from _tables(inner, f"{path}/{key}" if path else key)


def _tensors(table: dict[str, Any]) -> dict[str, Tensor]:
    """Returns the tensors in a table, checked again: a pickle can set attributes of the objects that it made."""
    found = ((name, value) for name, value in table.items() if isinstance(value, Tensor))
    return {name: _tensor(own.storage, own.offset, own.shape, own.strides, dtype=own.dtype) for name, own in found}


def _write(key: str, table: dict[str, Any], memory: mmap.mmap, starts: Starts) -> None:
    tensors = _tensors(table)
    others = sorted(table.keys() - tensors.keys())
    shown = ", ".join(others[:_MOST_NAMES]) + (f" and {len(others) - _MOST_NAMES} more" if others[_MOST_NAMES:] else "")
    header: dict[str, Any] = {"__metadata__": {"key": key, "left_out": shown}}
    end = 0
    for name, tensor in tensors.items():
        _require(name not in header, f"a tensor is named {name!r}")
        offsets = [end, end + tensor.size]
        header[name] = {"dtype": _DTYPES[tensor.dtype][0], "shape": list(tensor.shape), "data_offsets": offsets}
        end += tensor.size
    encoded = json.dumps(header, separators=(",", ":")).encode()
    too_large = f"its tensors take {end} bytes, more than a file of its size can hold"
    _require(8 + len(encoded) + end <= JOB["output"], too_large)
    sys.stdout.buffer.write(struct.pack("<Q", len(encoded)) + encoded)
    for tensor in tensors.values():
        if tensor.size:
            sys.stdout.buffer.write(_values(tensor, memory, starts(tensor.storage)))


def _values(tensor: Tensor, memory: mmap.mmap, start: int) -> memoryview:
    """Returns the values of a tensor in the order of its axes, as bytes."""
    item = _DTYPES[tensor.dtype][1]
    strides = [stride * item for stride in tensor.strides]
    array = np.ndarray(tensor.shape, f"V{item}", memory, start + tensor.offset * item, strides)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _require(condition: bool, problem: str, kind: type[Exception] = ValueError) -> None:
    if not condition:
        raise kind(problem)


if __name__ == "__main__":
    main()
