"""safetensors files: unsound files are refused, sound ones are read as the `safetensors` package reads them."""

import json
import math
import os
import pickle
import resource
import struct
import subprocess
import sys
import weakref
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra._weights.safetensors import format as safetensors_module
from vertebra._weights.safetensors.format import DTYPES, MappedTensors, open_header
from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import ALIGNMENT, itemsize, layout_of, numpy_dtype
from vertebra.errors import WeightsFileError


def encode(header, data=b"", length=None):
    """Assembles the bytes of a file; the header may be bytes that are not JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def write(path, arrays, metadata=None):
    """Writes arrays by our writer."""
    layout = {name: layout_of(name, array.dtype.name, array.shape) for name, array in arrays.items()}
    write_tensors(path, {name: (lambda array=array: array) for name, array in arrays.items()}, layout, metadata or {})


SOUND = encode({"a": tensor(), "b": tensor("I8", (2, 2), (4, 8))}, bytes(8))
FOUR = bytes(4)
UNSOUND = {
    "nothing": b"",
    "7 bytes": bytes(7),
    "8 bytes": struct.pack("<Q", 2),
    "largest length": encode({"a": tensor()}, FOUR, 2**64 - 1),
    "length beyond the end": encode({"a": tensor()}, FOUR, 1000),
    "length short by one": encode(b'{"a":{}}', FOUR, 7),
    "no header": encode(b""),
    "no UTF-8": encode(b'{"\xff": 1}'),
    "no JSON": encode(b"{'a': 1}"),
    "no object": encode(b"[]"),
    "null": encode(b"null"),
    "lone surrogate": encode(b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR),
    "two tensors of one name": encode(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}',
        FOUR,
    ),
    "two dtypes": encode(b'{"a":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}}', FOUR),
    "metadata of numbers": encode({"__metadata__": {"a": 1}}),
    "metadata that is no table": encode({"__metadata__": []}),
    "metadata of nulls": encode({"__metadata__": {"a": None}}),
    "a tensor that is no table": encode({"a": 1}),
    "a missing field": encode({"a": {"dtype": "F32", "shape": []}}, FOUR),
    "a field too many": encode({"a": tensor() | {"strides": [1]}}, FOUR),
    "cut short": encode({"a": tensor()}, bytes(3)),
    "trailing byte": encode({"a": tensor()}, bytes(5)),
    "hole": encode({"a": tensor(), "b": tensor(offsets=(5, 9))}, bytes(9)),
    "hole at the start": encode({"a": tensor(offsets=(1, 5))}, bytes(5)),
    "overlap": encode({"a": tensor(), "b": tensor(offsets=(2, 6))}, bytes(6)),
    "the same place twice": encode({"a": tensor(), "b": tensor()}, FOUR),
    "shape too large": encode({"a": tensor(shape=[2])}, FOUR),
    "shape too small": encode({"a": tensor(shape=[0])}, FOUR),
    "product beyond 64 bits": encode({"a": tensor(shape=[2**62, 4])}, FOUR),
    "item beyond 64 bits": encode({"a": tensor(shape=[2**64])}, FOUR),
    "dimensions that overflow to the right size": encode({"a": tensor(shape=[2**32, 2**32, 1])}, FOUR),
    "negative size": encode({"a": tensor(shape=[-1])}, FOUR),
    "two negative sizes": encode({"a": tensor(shape=[-1, -1])}, FOUR),
    "size that is a float": encode({"a": tensor(shape=[1.0])}, FOUR),
    "size that is a bool": encode({"a": tensor(shape=[True])}, FOUR),
    "shape that is a number": encode({"a": tensor() | {"shape": 1}}, FOUR),
    "71 dimensions": encode({"a": tensor(shape=[1] * 71)}, FOUR),
    "offsets reversed": encode({"a": tensor(offsets=(4, 0))}, FOUR),
    "offsets negative": encode({"a": tensor(offsets=(-4, 0))}, FOUR),
    "three offsets": encode({"a": tensor(offsets=(0, 2, 4))}, FOUR),
    "offsets that are floats": encode({"a": tensor(offsets=(0, 4.0))}, FOUR),
    "offsets that are text": encode({"a": tensor() | {"data_offsets": "04"}}, FOUR),
    "unknown dtype": encode({"a": tensor("C64", (1,), (0, 8))}, bytes(8)),
    "dtype of another case": encode({"a": tensor("f32")}, FOUR),
    "dtype that is a list": encode({"a": tensor([])}, FOUR),
    "dtype that is null": encode({"a": tensor(None)}, FOUR),
    "a million tensors": encode(b"{" + b",".join(b'"%x":{}' % number for number in range(1_000_000)) + b"}"),
    "header of 17 MB": encode(b"{" + b" " * 17 * 2**20 + b"}"),
    "pickle": pickle.dumps({"a": list(range(100))}),
    "web page": b"<!DOCTYPE html><html><body>Log in</body></html>",
    "git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n",
    "JSON": b'{"error": "not found, or gated"}',
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
}


def test_metadata_may_be_null(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(encode({"__metadata__": None, "a": tensor()}, FOUR))
    assert open_header(path).metadata == {}
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata() is None


@pytest.mark.parametrize("data", UNSOUND.values(), ids=UNSOUND)
def test_refuses(data, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsFileError) as caught:
        MappedTensors(path)
    assert caught.value.path == path


def test_refuses_too_many_tensors(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(encode({str(number): tensor("U8", (0,), (0, 0)) for number in range(11)}))
    assert len(open_header(path).entries) == 11
    monkeypatch.setattr(safetensors_module, "_MOST_TENSORS", 10)
    with pytest.raises(WeightsFileError):
        open_header(path)


@pytest.mark.parametrize(
    ("data", "named"),
    [(UNSOUND[name], name) for name in ("pickle", "web page", "git-lfs pointer", "JSON", "HDF5")] + [(None, "zip")],
)
def test_says_what_a_file_looks_like(data, named, tmp_path):
    path = tmp_path / "model.safetensors"
    if data is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", "x" * 100)
    else:
        path.write_bytes(data)
    with pytest.raises(WeightsFileError) as caught:
        open_header(path)
    assert f"looks like a {named}" in caught.value.problem.replace("an HDF5", "a HDF5")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.symlink_to(path)])
def test_refuses_what_is_no_file(make, tmp_path):
    make(tmp_path / "model.safetensors")
    with pytest.raises(WeightsFileError):
        open_header(tmp_path / "model.safetensors")


def test_a_huge_file_costs_what_its_header_costs(tmp_path):
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(encode({"a": tensor("F32", (2**30, 2), (0, 2**33))}))
        file.truncate(file.tell() + 2**33)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mapped = MappedTensors(path)
    assert mapped.view("a").shape == (2**30, 2)
    assert mapped.view("a")[-1, -1] == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_file_that_cannot_be_mapped_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(encode({"a": tensor("U8", (2**33,), (0, 2**33))}))
        file.truncate(file.tell() + 2**33)
    code = f"""
import resource
from pathlib import Path
from vertebra._weights.safetensors.format import MappedTensors
from vertebra.errors import WeightsFileError
resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
try:
    MappedTensors(Path({str(path)!r}))
except WeightsFileError as error:
    print(type(error.__cause__).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "OSError\n", done.stderr


# === Reading and writing, against the package ===

NAMES = st.text('ab./_0é"\\ \n', min_size=1, max_size=6)
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)


SHARED_DTYPES = [name for name in DTYPES.values() if not name.startswith("float8")]  # the package has no others
TENSORS = st.dictionaries(NAMES, st.tuples(st.sampled_from(SHARED_DTYPES), SHAPES), max_size=4)


def filled(dtype, shape):
    """Returns an array whose bytes are all different, where its dtype has so many values."""
    size = math.prod(shape) * itemsize(dtype)
    numbers = np.arange(size) % (2 if dtype == "bool" else 251)
    return numbers.astype(np.uint8).view(numpy_dtype(dtype)).reshape(shape)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def read(path):
    mapped = MappedTensors(path)
    return {name: mapped.view(name) for name in mapped.header.entries}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("weights") / "model.safetensors"


@given(TENSORS, st.dictionaries(NAMES, NAMES, max_size=2))
def test_the_package_reads_what_it_writes(path, tensors, metadata):
    arrays = {name: filled(*tensor) for name, tensor in tensors.items()}
    write(path, arrays, metadata)
    assert_same(read(path), arrays)
    assert_same(safetensors.numpy.load_file(path), arrays)
    header = open_header(path)
    assert header.metadata == metadata
    assert min((entry.start for entry in header.entries.values()), default=0) % ALIGNMENT == 0


@given(TENSORS)
def test_reads_what_the_package_writes(path, tensors):
    arrays = {name: filled(*tensor) for name, tensor in tensors.items()}
    safetensors.numpy.save_file(arrays, path)
    assert_same(read(path), arrays)


@pytest.mark.parametrize("order", ["C", "F"])
def test_writes_arrays_of_any_layout(order, path):
    array = np.asarray(np.arange(12.0).reshape(3, 4), order=order)
    write(path, {"whole": array, "part": array[::2, ::-1], "turned": array.T})
    assert_same(read(path), {"whole": array, "part": array[::2, ::-1], "turned": array.T})


def test_starts_each_tensor_at_a_multiple_of_64_that_can(path):
    arrays = {name: np.zeros(size, np.float32) for name, size in {"a": 3, "b": 16, "c": 5, "d": 160, "e": 1}.items()}
    write(path, arrays)
    entries = open_header(path).entries
    assert [name for name, entry in entries.items() if entry.start % ALIGNMENT == 0] == ["b", "d", "a"]
    mapped = MappedTensors(path)
    assert mapped.view("d").ctypes.data % ALIGNMENT == 0


def test_holds_one_tensor_at_a_time(path):
    asked = []

    def read_one():
        assert [one() for one in asked if one() is not None] == []
        array = np.zeros(1000, np.float32)
        asked.append(weakref.ref(array))
        return array

    names = ("a", "b", "c")
    layout = {name: layout_of(name, "float32", (1000,)) for name in names}
    write_tensors(path, dict.fromkeys(names, read_one), layout, {})
    assert len(asked) == 3


def test_refuses_to_write_what_is_not_of_the_layout(path):
    with pytest.raises(ValueError):
        write_tensors(path, {"a": lambda: np.zeros(3)}, {"a": layout_of("a", "float64", (2,))}, {})


def test_writing_to_a_view_never_reaches_the_file(path):
    write(path, {"a": np.arange(4.0)})
    before = path.read_bytes()
    first, second = MappedTensors(path), MappedTensors(path)
    first.view("a")[:] = 7
    assert list(first.view("a")) == [7, 7, 7, 7]
    assert list(second.view("a")) == [0, 1, 2, 3]
    del first, second
    assert path.read_bytes() == before


def test_a_view_outlives_the_file(path):
    write(path, {"a": np.arange(4.0)})
    view = MappedTensors(path).view("a")
    path.unlink()
    assert list(view) == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", DTYPES.values())
def test_holds_every_dtype(dtype, path):
    assert (numpy_dtype(dtype).name, numpy_dtype(dtype).itemsize) == (dtype, itemsize(dtype))
    write(path, {"a": filled(dtype, (2, 3)), "b": filled(dtype, ())})
    assert_same(read(path), {"a": filled(dtype, (2, 3)), "b": filled(dtype, ())})


# === Damage ===


@settings(max_examples=6 * int(os.environ.get("VERTEBRA_FAULT_RUNS", "15")))
@given(st.lists(st.tuples(st.integers(0), st.binary(max_size=3)), min_size=1, max_size=3), st.integers(0, 3))
def test_damage_is_refused_or_harmless(path, changes, cut):
    data = bytearray(SOUND)
    for position, inserted in changes:
        start = position % len(data)
        data[start : start + len(inserted)] = inserted
    path.write_bytes(data[: len(data) - cut])
    try:
        mapped = MappedTensors(path)
    except WeightsFileError:
        return
    for name, entry in mapped.header.entries.items():
        assert mapped.view(name).nbytes == entry.size


@given(st.integers(0, len(SOUND) - 1))
def test_a_file_that_was_cut_is_refused(path, length):
    path.write_bytes(SOUND[:length])
    with pytest.raises(WeightsFileError):
        open_header(path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | st.sampled_from(["F32", "dtype", "a"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["a", "__metadata__", "dtype", "shape", "data_offsets"]), inner, max_size=4
            )
        ),
        max_leaves=10,
    )
)
def test_any_header_is_refused_or_sound(path, header):
    path.write_bytes(encode(header, FOUR))
    try:
        found = open_header(path)
    except WeightsFileError:
        return
    assert sum(entry.size for entry in found.entries.values()) == 4
