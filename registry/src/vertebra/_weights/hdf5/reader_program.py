"""The program that reads HDF5 files in a child process, because the HDF5 library is not safe on hostile files.

Its only argument is a job, a JSON object from `reader_process.py`. The files are open when it starts, and the job has
their descriptors. For each file it writes one line to standard output: a JSON object with the dtype, shape and offset
of each dataset by its path. Or, to unpack, it writes the values of the packed datasets. On an error in a file it writes
the message to standard error, reads no further file and ends with exit status 1.

A dataset is packed if its bytes are not contiguous in the file: it is chunked, perhaps compressed, or compact.
"""

from __future__ import annotations

import json
import math
import os
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

JOB = json.loads(sys.argv[1])
sys.path += JOB["search"]  # the interpreter is isolated: without this it can import only the standard library

import h5py  # type: ignore[import-untyped, unused-ignore]  # noqa: E402
import numpy as np  # noqa: E402
from h5py import h5d, h5g, h5l, h5o, h5s, h5t  # type: ignore[import-untyped, unused-ignore]  # noqa: E402

_DTYPES = (
    (h5t.IEEE_F16LE, "float16"),
    (h5t.IEEE_F32LE, "float32"),
    (h5t.IEEE_F64LE, "float64"),
    (h5t.STD_I8LE, "int8"),
    (h5t.STD_I16LE, "int16"),
    (h5t.STD_I32LE, "int32"),
    (h5t.STD_I64LE, "int64"),
    (h5t.STD_U8LE, "uint8"),
    (h5t.STD_U16LE, "uint16"),
    (h5t.STD_U32LE, "uint32"),
    (h5t.STD_U64LE, "uint64"),
)
_GROUPS = 3
"""At most so many groups for each dataset that a file may have; Keras writes two, or three within other layers."""
_OTHER_LINKS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link to another file"}
_OTHER_TYPES = {
    h5t.INTEGER: "integers of an unusual size or byte order",
    h5t.FLOAT: "floats of an unusual size or byte order",
    h5t.STRING: "text",
    h5t.OPAQUE: "opaque bytes",
    h5t.COMPOUND: "records or complex numbers",
    h5t.REFERENCE: "references",
    h5t.ENUM: "bools or another enumeration",
    h5t.VLEN: "sequences of varying length",
    h5t.ARRAY: "arrays",
}


def main() -> None:
    """Does the job, and ends the process at once: closing a damaged file properly could crash."""
    status = 0
    try:
        runpy.run_path(JOB["limits"])["limit_resources"](JOB)
        write = _write_packed if JOB["unpack"] else _write_index
        for number in JOB["files"]:
            write(h5py.File(open(number, "rb", buffering=0, closefd=False), "r"))  # noqa: SIM115
            sys.stdout.flush()
    except Exception as error:
        sys.stderr.write(str(error) or type(error).__name__)
        sys.stderr.flush()
        status = 1
    os._exit(status)


def _write_index(file: Any) -> None:
    index = {}
    for path, dataset in _datasets(file.id):
        with _with_path(path):
            index[path] = _describe(dataset)
    sys.stdout.write(json.dumps(index, separators=(",", ":")) + "\n")


def _write_packed(file: Any) -> None:
    for path, dataset in _datasets(file.id):
        with _with_path(path):
            if _describe(dataset)["start"] is None:
                values = np.empty(_size(dataset), np.uint8)
                dataset.read(h5s.ALL, h5s.ALL, values, dataset.get_type())
                sys.stdout.buffer.write(values.data)
                sys.stdout.buffer.write(bytes(-len(values) % JOB["alignment"]))


def _datasets(root: Any) -> Iterator[tuple[str, Any]]:
    """Yields each dataset with its path; refuses soft and external links, and objects that have two names."""
    seen = {h5o.get_info(root).addr}
    groups = [("", root)]
    left, groups_left = JOB["datasets"], _GROUPS * JOB["datasets"]
    while groups:
        parent, group = groups.pop()
        for path, name in _names(parent, group):
            with _with_path(path):
                item = _open(group, name, seen)
                left -= isinstance(item, h5d.DatasetID)
                groups_left -= isinstance(item, h5g.GroupID)
                _require(left >= 0, f"the file has too many datasets; at most {JOB['datasets']} are read")
                _require(
                    groups_left >= 0, f"the file has too many groups; at most {_GROUPS * JOB['datasets']} are read"
                )
                _require(path.count("/") < JOB["depth"], f"it is nested more than {JOB['depth']} deep")
            if isinstance(item, h5g.GroupID):
                groups.append((f"{path}/", item))
            elif isinstance(item, h5d.DatasetID):
                yield path, item


def _names(parent: str, group: Any) -> Iterator[tuple[str, bytes]]:
    """Yields the path and name of each link in a group."""
    links: list[tuple[bytes, int]] = []
    group.links.iterate(lambda name, link: links.append((name, link.type)), info=True)
    for name, kind in links:
        path = parent + name.decode(errors="backslashreplace")
        with _with_path(path):
            _require(kind == h5l.TYPE_HARD, _OTHER_LINKS.get(kind, "a link of an unknown kind"))
            name.decode()
        yield path, name


def _open(group: Any, name: bytes, seen: set[int]) -> Any:
    item = h5o.open(group, name)
    address = h5o.get_info(item).addr
    _require(address not in seen, "a second name of an object that has another name")
    seen.add(address)
    return item


def _describe(dataset: Any) -> dict[str, Any]:
    """Returns a dataset's entry in the index; its start is None if it is packed."""
    settings = dataset.get_create_plist()
    layout, space = settings.get_layout(), dataset.get_space().get_simple_extent_type()
    _require(layout != h5d.VIRTUAL, "it is virtual: its data is in other datasets")
    _require(not settings.get_external_count(), "its data is in other files")
    _require(space in (h5s.SCALAR, h5s.SIMPLE), "it is empty, without even a shape")
    dtype, size = _dtype(dataset), _size(dataset)
    if size and layout == h5d.CHUNKED:
        _require_all_chunks(dataset, settings.get_chunk())
    elif size:
        stored = dataset.get_storage_size()
        _require(stored == size, f"it declares {size} bytes and stores {stored}")
    start = dataset.get_offset() if layout == h5d.CONTIGUOUS else None
    return {"dtype": dtype, "shape": dataset.shape, "start": start if size else 0}


def _dtype(dataset: Any) -> str:
    stored = dataset.get_type()
    for plain, name in _DTYPES:
        if stored == plain:
            return name
    # Keras stores bfloat16 as opaque bytes, with an attribute that names the dtype.
    is_pair = stored.get_class() == h5t.OPAQUE and stored.get_size() == 2
    is_bfloat16 = is_pair and str(h5py.Dataset(dataset).attrs.get("dtype")) == "bfloat16"
    other = _OTHER_TYPES.get(stored.get_class(), "an unknown type")
    _require(is_bfloat16, f"it holds {other}, expected little-endian floats or integers")
    return "bfloat16"


def _size(dataset: Any) -> int:
    size: int = math.prod(dataset.shape) * dataset.get_type().get_size()
    return size


def _require_all_chunks(dataset: Any, chunk: tuple[int, ...]) -> None:
    """Refuses a dataset with unwritten chunks: the library would fill them in, however large."""
    needed = math.prod(-(-length // step) for length, step in zip(dataset.shape, chunk, strict=True))
    written = dataset.get_num_chunks()
    _require(written == needed, f"it has {written} of its {needed} chunks")


@contextmanager
def _with_path(path: str) -> Iterator[None]:
    """Puts the path of the object in front of an error's message."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path!r}: {error}") from error


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


if __name__ == "__main__":
    main()
