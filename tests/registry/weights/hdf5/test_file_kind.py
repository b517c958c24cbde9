"""HDF5 files: only plain arrays of weights are accepted, read as h5py reads them, and mostly viewed in place."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra._weights import shard_index
from vertebra._weights.checkpoint import open_checkpoint, read_headers
from vertebra._weights.hdf5 import listing, mapping, reader_process
from vertebra._weights.hdf5.file_kind import HDF5, HDF5_INDEX, HDF5_WEIGHTS
from vertebra._weights.hdf5.listing import DTYPES
from vertebra._weights.hdf5.mapping import map_hdf5, open_hdf5_headers
from vertebra._weights.reader import process
from vertebra._weights.tensor_entry import ALIGNMENT, numpy_dtype
from vertebra.errors import PresetError, WeightsFileError

RUNS = int(os.environ.get("VERTEBRA_FAULT_RUNS", "15"))
ROOT = Path(__file__).parents[4]
GOLDEN = [path for path in sorted((ROOT / "tests/golden").rglob("*.h5")) if not path.name.endswith(".lora.h5")]


def put(group, name, array, **options):
    """Stores an array as Keras does."""
    dataset = group.create_dataset(name, data=array, **options)
    if array.dtype.name == "bfloat16":
        dataset.attrs["dtype"] = "bfloat16"


def filled(dtype, shape):
    """Returns an array whose bytes are all different, up to 256 bytes."""
    plain = numpy_dtype(dtype)
    size = int(np.prod(shape)) * plain.itemsize
    return (np.arange(size) % 251).astype(np.uint8).view(plain).reshape(shape)


def read_with_h5py(path):
    """Returns all datasets of a file, by path, as Keras reads them."""
    arrays = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            is_bfloat16 = item.attrs.get("dtype") == "bfloat16"
            arrays[name] = item[()].view(ml_dtypes.bfloat16) if is_bfloat16 else item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return arrays


def mapped_file(path):
    [mapped] = map_hdf5([path])
    return mapped


def read(path):
    mapped = mapped_file(path)
    return views(mapped, mapped.header.entries)


def views(mapped, names):
    return {name: mapped.view(name) for name in names}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.weights.h5"


@pytest.fixture
def children(monkeypatch):
    """A list that grows by the arguments of each child process."""
    started = []
    run = subprocess.run
    monkeypatch.setattr(
        process.subprocess, "run", lambda *args, **kwargs: started.append((args, kwargs)) or run(*args, **kwargs)
    )
    return started


# === Reading ===


def test_reads_what_kerashub_wrote(new_interpreter):
    for path, mapped in zip(GOLDEN, map_hdf5(GOLDEN), strict=True):
        assert_same(views(mapped, mapped.header.entries), read_with_h5py(path))


def test_the_header_says_what_the_views_hold(path):
    with h5py.File(path, "w") as file:
        put(file, "layers/dense/vars/0", filled("bfloat16", (3, 5)))
        put(file, "layers/dense/vars/1", filled("float32", (5,)), compression="gzip")
    [header] = open_hdf5_headers([path])
    assert header == mapped_file(path).header
    assert header.metadata == {}
    described = {name: (entry.dtype, entry.shape, entry.size) for name, entry in header.entries.items()}
    assert described == {
        "layers/dense/vars/0": ("bfloat16", (3, 5), 30),
        "layers/dense/vars/1": ("float32", (5,), 20),
    }


@pytest.mark.parametrize("options", [{}, {"chunks": (2, 2)}], ids=["contiguous", "chunked"])
def test_reads_every_dtype(options, path):
    arrays = {dtype: filled(dtype, (3, 5)) for dtype in DTYPES}
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            put(file, name, array, **options)
    assert_same(read(path), arrays)


PACKED = {
    "chunked": {"chunks": (7, 3)},
    "one chunk": {"chunks": (30, 20)},
    "growing": {"chunks": (7, 3), "maxshape": (None, None)},
    "gzip": {"compression": "gzip"},
    "lzf": {"compression": "lzf"},
    "all filters": {"compression": "gzip", "shuffle": True, "fletcher32": True},
}


def test_reads_what_is_packed(path):
    arrays = {name: filled("float32", (30, 20)) + number for number, name in enumerate(PACKED)}
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            put(file, name, array, **PACKED[name])
    assert_same(read(path), arrays)


def test_says_which_dataset_cannot_be_unpacked(path):
    with h5py.File(path, "w") as file:
        put(file, "sound", filled("float32", (30, 20)), compression="gzip")
        put(file, "culprit", filled("float32", (30, 20)), compression="gzip")
        chunk = file["culprit"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(data)
    mapped = mapped_file(path)
    with pytest.raises(WeightsFileError) as caught:
        mapped.view("sound")
    assert "culprit" in caught.value.problem


def test_reads_what_is_compact(path):
    array = filled("int16", (4,))
    settings = h5p.create(h5p.DATASET_CREATE)
    settings.set_layout(h5d.COMPACT)
    with h5py.File(path, "w") as file:
        dataset = h5d.create(file.id, b"a", h5t.STD_I16LE, h5s.create_simple((4,)), settings)
        dataset.write(h5s.ALL, h5s.ALL, array)
    assert_same(read(path), {"a": array})


def test_unpacks_a_file_once_when_first_needed(path, children):
    with h5py.File(path, "w") as file:
        for name in ("a", "b", "c"):
            put(file, name, filled("float32", (3, 3)), compression="gzip")
        put(file, "d", filled("float32", (3, 3)))
    mapped = mapped_file(path)
    mapped.view("d")
    assert len(children) == 1
    packed = [mapped.view(name) for name in ("a", "b", "c")]
    assert len(children) == 2
    assert [view.ctypes.data % ALIGNMENT for view in packed] == [0, 0, 0]


def test_a_packed_file_that_was_replaced_is_refused(path):
    with h5py.File(path, "w") as file:
        put(file, "a", filled("float32", (3, 3)), compression="gzip")
    mapped = mapped_file(path)
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    with pytest.raises(WeightsFileError):
        mapped.view("a")


def test_groups_without_datasets_and_named_types_are_passed_over(path):
    with h5py.File(path, "w") as file:
        file.create_group("vars").attrs["name"] = "model"
        file["a type"] = np.dtype("f4")
        file.create_dataset("a", data=filled("float32", (2,)), dtype=file["a type"])
    assert_same(read(path), {"a": filled("float32", (2,))})


def test_reads_every_version_of_the_format(tmp_path):
    paths = [tmp_path / version for version in ("earliest", "v108", "v110", "v112", "v114", "latest")]
    for path in paths:
        with h5py.File(path, "w", libver=path.name) as file:
            put(file, "layers/dense/vars/0", filled("float32", (3, 5)))
            put(file, "layers/dense/vars/1", filled("bfloat16", (5,)))
    for path, mapped in zip(paths, map_hdf5(paths), strict=True):
        assert_same(views(mapped, mapped.header.entries), read_with_h5py(path))


NAMES = st.text('ab._0é"\\ ', min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
LAYOUTS = st.sampled_from([{}, {"chunks": True}, {"compression": "gzip"}])
TREES = st.dictionaries(PATHS, st.tuples(st.sampled_from(DTYPES), SHAPES, LAYOUTS), max_size=5)


@settings(max_examples=max(RUNS // 3, 1), deadline=None)
@given(tree=TREES)
def test_reads_any_tree(tree, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "tree.h5"
    expected = {}
    with h5py.File(path, "w") as file:
        for name, (dtype, shape, layout) in tree.items():
            array = filled(dtype, shape)
            try:
                put(file, name, array, **(layout if array.size and shape else {}))
            except (ValueError, TypeError, OSError):  # one path is the start of another
                continue
            expected[name] = array
    assert_same(read(path), expected)


# === Viewing ===


def test_views_lie_in_the_mapped_file(path):
    with h5py.File(path, "w") as file:
        for name in ("a", "b"):
            put(file, name, filled("float32", (100, 10)))
    mapped = mapped_file(path)
    bases = {mapped.view(name).ctypes.data - entry.start for name, entry in mapped.header.entries.items()}
    assert len(bases) == 1
    data = path.read_bytes()
    for name, entry in mapped.header.entries.items():
        assert mapped.view(name).tobytes() == data[entry.start : entry.start + entry.size]


@pytest.fixture
def placed_and_packed(path):
    with h5py.File(path, "w") as file:
        put(file, "placed", np.arange(4.0))
        put(file, "packed", np.arange(4.0), compression="gzip")
    return path


def test_writing_to_a_view_never_reaches_the_file(placed_and_packed):
    before = placed_and_packed.read_bytes()
    first, second = map_hdf5([placed_and_packed, placed_and_packed])
    for name in ("placed", "packed"):
        first.view(name)[:] = 7
        assert list(first.view(name)) == [7, 7, 7, 7]
        assert list(second.view(name)) == [0, 1, 2, 3]
    del first, second
    assert placed_and_packed.read_bytes() == before


def test_released_memory_is_read_again(placed_and_packed):
    mapped = mapped_file(placed_and_packed)
    views = [mapped.view(name) for name in ("placed", "packed")]
    assert [view.sum() for view in views] == [6, 6]
    mapped.release()
    assert [list(view) for view in views] == [[0, 1, 2, 3], [0, 1, 2, 3]]


def test_a_view_outlives_the_file(path):
    with h5py.File(path, "w") as file:
        put(file, "a", np.arange(4.0))
    view = mapped_file(path).view("a")
    path.unlink()
    assert list(view) == [0, 1, 2, 3]


def in_another_process(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout


def test_the_library_is_not_loaded_into_this_process(path):
    with h5py.File(path, "w") as file:
        put(file, "a", np.arange(4.0), compression="gzip")
    code = """
import sys
from pathlib import Path
from vertebra._weights.hdf5.file_kind import HDF5
[mapped] = HDF5.map([Path(sys.argv[1])])
print("numpy" in sys.modules)
print(mapped.view("a").sum(), "h5py" in sys.modules)
"""
    assert in_another_process(code, path).split() == ["False", "6.0", "False"]


def test_nothing_in_the_environment_reaches_the_library(path, tmp_path, monkeypatch, new_interpreter):
    with h5py.File(path, "w") as file:
        put(file, "a", np.arange(4.0), compression="gzip")
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    for name in (
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "HDF5_PLUGIN_PATH",
        "HDF5_USE_FILE_LOCKING",
        "HDF5_DISABLE_VERSION_CHECK",
    ):
        monkeypatch.setenv(name, str(tmp_path))
    assert list(read(path)["a"]) == [0, 1, 2, 3]


def test_secrets_of_this_process_are_not_passed_on(path, children, monkeypatch):
    with h5py.File(path, "w") as file:
        put(file, "a", np.zeros(2))
    for name in ("A_TOKEN", "SECRET_PATH", "LC_ALL", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "C")
    open_hdf5_headers([path])
    [(_, arguments)] = children
    assert {"LC_ALL", "LD_LIBRARY_PATH", "PATH"} <= arguments["env"].keys()
    assert not {"A_TOKEN", "SECRET_PATH", "HOME", "USER"} & arguments["env"].keys()


@pytest.mark.skipif(sys.platform == "win32", reason="numbers of open files mean nothing there")
def test_files_in_the_place_of_standard_streams_are_read(path):
    with h5py.File(path, "w") as file:
        put(file, "a", np.zeros(2))
    code = """
import os, sys
from pathlib import Path
from vertebra._weights.hdf5.file_kind import HDF5
os.close(0)
os.close(2)
print([list(header.entries) for header in HDF5.headers([Path(sys.argv[1])] * 2)])
"""
    assert in_another_process(code, path).strip() == "[['a'], ['a']]"


# === Refusing ===


def soft_link(file):
    file["a"] = np.zeros(3)
    file["culprit"] = h5py.SoftLink("/a")


def external_link(file):
    file["culprit"] = h5py.ExternalLink("other.h5", "/a")


def external_storage(file):
    file.create_dataset("culprit", (3,), "f4", external=[(sys.executable, 0, 12)])


def virtual_dataset(file):
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "a", (3,))
    file.create_virtual_dataset("culprit", layout)


def cycle(file):
    file["culprit/b"] = file.create_group("culprit/a").parent


def cycle_to_the_root(file):
    file["culprit"] = file["/"]


def two_names(file):
    file["culprit"] = file["b"]


def of_type(dtype, value=0):
    return lambda file: file.create_dataset("culprit", data=np.full((2,), value, dtype))


def compound(file):
    file["culprit"] = np.zeros(2, [("a", "f4"), ("b", "i4")])


def sequences(file):
    file.create_dataset("culprit", (2,), h5py.vlen_dtype("f4"))[:] = [[1], [2, 3]]


def references(file):
    file.create_dataset("culprit", data=[file.ref], dtype=h5py.ref_dtype)


def array_type(file):
    file.create_dataset("culprit", (2,), np.dtype(("f4", (3,))))


def wrongly_marked(file):
    file["culprit"] = np.zeros(2, "V4")
    file["culprit"].attrs["dtype"] = "bfloat16"


def marked_with_numbers(file):
    file["culprit"] = np.zeros(2, "V2")
    file["culprit"].attrs["dtype"] = np.zeros(3)


def without_a_shape(file):
    file["culprit"] = h5py.Empty("f4")


def never_written(file):
    file.create_dataset("culprit", (3,), "f4")


def no_chunk_written(file):
    file.create_dataset("culprit", (3,), "f4", chunks=(2,))


def one_chunk_missing(file):
    file.create_dataset("culprit", (3,), "f4", chunks=(2,))[:2] = 1


def nested(file):
    file["/".join(["culprit", *"a" * 40])] = np.zeros(2)


def many_dimensions(file):
    file["culprit"] = np.zeros([1] * 17)


def unprintable(file):
    file["culprit\n"] = np.zeros(2)


def not_utf8(file):
    h5d.create(file.id, b"culprit\xff", h5t.IEEE_F32LE, h5s.create_simple((2,))).write(
        h5s.ALL, h5s.ALL, np.zeros(2, "f4")
    )


def parent_as_name(file):
    file.create_group("culprit")[".."] = np.zeros(2)


def long_name(file):
    file["culprit" * 200] = np.zeros(2)


REFUSED = {
    "soft link": soft_link,
    "external link": external_link,
    "external storage": external_storage,
    "virtual dataset": virtual_dataset,
    "cycle": cycle,
    "cycle to the root": cycle_to_the_root,
    "two names of one object": two_names,
    "bools": of_type(bool),
    "complex": of_type("c8"),
    "text": of_type("S3"),
    "long double": of_type("g"),
    "float8": of_type(ml_dtypes.float8_e4m3fn),
    "unmarked bfloat16": of_type(ml_dtypes.bfloat16),
    "big-endian float": of_type(">f4"),
    "big-endian integer": of_type(">i4"),
    "text of any length": lambda file: file.create_dataset("culprit", data="text"),
    "records": compound,
    "sequences": sequences,
    "references": references,
    "array type": array_type,
    "marked, of the wrong size": wrongly_marked,
    "marked with numbers": marked_with_numbers,
    "without a shape": without_a_shape,
    "never written": never_written,
    "no chunk written": no_chunk_written,
    "one chunk missing": one_chunk_missing,
    "nested": nested,
    "17 dimensions": many_dimensions,
    "unprintable name": unprintable,
    "name that is not UTF-8": not_utf8,
    "parent as name": parent_as_name,
    "long name": long_name,
}


@pytest.fixture
def listed_in_this_process(monkeypatch, capsys):
    """Saves a child for each file; none of these kills it."""
    job = dataclasses.asdict(listing.LISTING) | {"search": [str(Path(process.__file__).parent)]}
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "argv", ["reader_program", json.dumps(job)])
    spec = importlib.util.spec_from_file_location("reader_program", reader_process._PROGRAM.path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)

    def run_job(files, job, output):
        [opened] = files
        try:
            program._write_index(h5py.File(opened.file))
        except ValueError as error:
            raise WeightsFileError(opened.path, str(error)) from error
        output.write(capsys.readouterr().out.encode())
        output.seek(0)

    monkeypatch.setattr(listing, "run_job", run_job)


@pytest.mark.usefixtures("listed_in_this_process")
@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_refuses(make, path):
    """H5-01 and H5-03."""
    with h5py.File(path, "w") as file:
        put(file, "b", np.zeros(4))
        make(file)
    with pytest.raises(WeightsFileError) as caught:
        mapped_file(path)
    assert caught.value.path == path
    assert "culprit" in caught.value.problem


BOMBS = {
    "1 PiB": [(2**25, 2**25)],
    "3.87 GiB": [(1_040_000, 1_000)],
    "200 times 1 GiB": [(2**14, 2**14)] * 200,
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("shapes", BOMBS.values(), ids=BOMBS)
def test_refuses_a_bomb_without_memory(shapes, path):
    """H5-02: parent and child together need less than 200 MB."""
    with h5py.File(path, "w") as file:
        for number, shape in enumerate(shapes):
            file.create_dataset(str(number), shape, "f4", chunks=(1024, 1000), compression="gzip")
    code = """
import resource, sys
from pathlib import Path
from vertebra._weights.hdf5.file_kind import HDF5
from vertebra.errors import WeightsFileError
try:
    HDF5.map([Path(sys.argv[1])])
except WeightsFileError:
    own = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
    assert sum(map(int, in_another_process(code, path).split())) < 200 * 1024


def test_refuses_a_bomb_that_was_written(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.zeros((2**14, 2**11), "f4"), compression="gzip")
    assert path.stat().st_size < 2**20
    with pytest.raises(WeightsFileError) as caught:
        mapped_file(path)
    assert "unpack" in caught.value.problem


def test_zeros_that_compress_well_are_read_while_they_are_small(path):
    with h5py.File(path, "w") as file:
        put(file, "a", np.zeros(2**20, np.float32), compression="gzip")
    assert not read(path)["a"].any()


def test_a_huge_file_is_viewed(path):
    settings = h5p.create(h5p.DATASET_CREATE)
    settings.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w") as file:
        h5d.create(file.id, b"a", h5t.IEEE_F32LE, h5s.create_simple((2**30, 2)), settings)
    view = mapped_file(path).view("a")
    assert view.shape == (2**30, 2)
    assert view[-1, -1] == 0


LOOKALIKES = {
    "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n",
    "a zip archive": b"PK\x03\x04" + bytes(60),
    "a pickle": b"\x80\x04" + bytes(60),
    "a web page": b"<!DOCTYPE html>",
    "a JSON file": b'{"error": "not found"}',
    "a safetensors file": b'\x10\0\0\0\0\0\0\0{"a":{}}',
}


@pytest.mark.parametrize(("named", "data"), LOOKALIKES.items(), ids=LOOKALIKES)
def test_says_what_a_file_looks_like(named, data, path):
    path.write_bytes(data)
    with pytest.raises(WeightsFileError) as caught:
        mapped_file(path)
    assert f"looks like {named}" in caught.value.problem


@pytest.mark.parametrize("data", [b"", b"\x89HDF", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(100), bytes(600)])
def test_refuses_what_is_no_hdf5(data, path):
    path.write_bytes(data)
    with pytest.raises(WeightsFileError):
        mapped_file(path)


NO_FILES = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "pipe": os.mkfifo if hasattr(os, "mkfifo") else lambda path: None,
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_refuses_what_is_no_file(make, path):
    make(path)
    with pytest.raises(WeightsFileError):
        open_hdf5_headers([path])


def test_refuses_too_many_datasets(path, monkeypatch):
    with h5py.File(path, "w") as file:
        for number in range(11):
            put(file, f"culprit {number}", np.zeros(1))
    monkeypatch.setattr(listing, "MOST_DATASETS", 10)
    with pytest.raises(WeightsFileError):
        open_hdf5_headers([path])
    job = reader_process.Job(unpack=False, seconds=60, memory=2**29, output=2**20, datasets=10)
    monkeypatch.setattr(listing, "LISTING", job)
    with pytest.raises(WeightsFileError) as caught:
        open_hdf5_headers([path])
    assert "culprit" in caught.value.problem


def test_refuses_too_many_groups(path, monkeypatch):
    with h5py.File(path, "w") as file:
        for number in range(13):
            file.create_group(f"culprit {number}")
    job = reader_process.Job(unpack=False, seconds=60, memory=2**29, output=2**20, datasets=4)
    monkeypatch.setattr(listing, "LISTING", job)
    with pytest.raises(WeightsFileError, match="too many groups; at most 12 are read"):
        open_hdf5_headers([path])


# === Shards ===

SHARDS = {
    "model_00000.weights.h5": ["layers/a/vars/0", "layers/b/vars/0"],
    "model_00001.weights.h5": ["layers/b/vars/1", "layers/c/vars/0"],
}
WEIGHT_MAP = {
    "/layers/a/vars": "model_00000.weights.h5",
    "/layers/b/vars": ["model_00000.weights.h5", "model_00001.weights.h5"],
    "/layers/c/vars": ["model_00001.weights.h5"],
}
FIRST = "model_00000.weights.h5"


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A folder with two shards, and a function that rewrites their index."""
    folder = tmp_path_factory.mktemp("shards")
    for shard, names in SHARDS.items():
        with h5py.File(folder / shard, "w") as file:
            for name in names:
                put(file, name, np.zeros(2))
    return folder


def find(folder, weight_map=None):
    if weight_map is not None:
        text = weight_map if isinstance(weight_map, str) else json.dumps({"metadata": {}, "weight_map": weight_map})
        (folder / HDF5_INDEX).write_text(text)
    names = {path.name for path in folder.iterdir()}
    header = read_headers(HDF5, names, folder.joinpath)
    header.check(header.disputes)
    return header.path, list(header.files)


def test_finds_the_shards_that_the_index_names(shards):
    (shards / "model_00002.weights.h5").write_bytes(b"")
    assert find(shards, WEIGHT_MAP) == (shards / HDF5_INDEX, list(SHARDS))


@pytest.mark.parametrize(
    "folder", sorted((ROOT / "tests/golden").glob("*/kerashub_sharded")), ids=lambda path: path.parent.name
)
def test_reads_the_shards_that_kerashub_wrote(folder):
    checkpoint = open_checkpoint(HDF5, {path.name for path in folder.iterdir()}, folder.joinpath)
    assert checkpoint.path == folder / HDF5_INDEX
    assert_same(views(checkpoint, checkpoint.entries), read_with_h5py(folder.parent / "kerashub" / HDF5_WEIGHTS))


def test_one_child_lists_40_shards(tmp_path, children):
    weight_map = {f"/layers/{number}": f"model_{number:05}.weights.h5" for number in range(40)}
    for group, shard in weight_map.items():
        with h5py.File(tmp_path / shard, "w") as file:
            put(file, f"{group}/0", np.zeros(2))
    find(tmp_path, weight_map)
    assert len(children) == 1


def test_no_more_files_are_open_at_once_than_a_process_may_have(path, children, monkeypatch):
    monkeypatch.setattr(mapping, "_OPEN_AT_ONCE", 2)
    with h5py.File(path, "w") as file:
        put(file, "a", np.zeros(2))
    headers = open_hdf5_headers([path] * 3)
    assert [list(header.entries) for header in headers] == [["a"]] * 3
    assert len(children) == 2


def test_one_file_wins_over_shards(shards, tmp_path):
    with h5py.File(tmp_path / HDF5_WEIGHTS, "w") as file:
        put(file, "layers/a/vars/0", np.zeros(2))
    (tmp_path / HDF5_INDEX).write_bytes(b"")
    assert find(tmp_path) == (tmp_path / HDF5_WEIGHTS, [HDF5_WEIGHTS])


def test_a_preset_without_weights_is_refused(tmp_path):
    with pytest.raises(WeightsFileError):
        find(tmp_path)


INDEXES = {
    "empty": {},
    "list": [],
    "null": None,
    "number": WEIGHT_MAP | {"/a": 1},
    "no shard": WEIGHT_MAP | {"/a": []},
    "list in list": WEIGHT_MAP | {"/a": [[FIRST]]},
    "one shard twice": WEIGHT_MAP | {"/layers/a/vars": [FIRST, FIRST]},
    "parent": WEIGHT_MAP | {"/a": f"../{FIRST}"},
    "absolute": WEIGHT_MAP | {"/a": f"/{FIRST}"},
    "folder": WEIGHT_MAP | {"/a": f"shards/{FIRST}"},
    "drive": WEIGHT_MAP | {"/a": f"c:\\{FIRST}"},
    "newline": WEIGHT_MAP | {"/a": f"{FIRST}\n"},
    "NUL": WEIGHT_MAP | {"/a": f"{FIRST}\0"},
    "other kind": WEIGHT_MAP | {"/a": "model_00000.bin"},
    "only an ending": WEIGHT_MAP | {"/a": ".weights.h5"},
    "itself": WEIGHT_MAP | {"/a": HDF5_INDEX},
    "missing shard": WEIGHT_MAP | {"/a": "model_00009.weights.h5"},
    "relative group": WEIGHT_MAP | {"a": FIRST},
    "group too many": WEIGHT_MAP | {"/layers/d/vars": FIRST},
    "group missing": {group: shard for group, shard in WEIGHT_MAP.items() if "a" not in group.split("/")},
    "group in the wrong shard": WEIGHT_MAP | {"/layers/a/vars": "model_00001.weights.h5"},
    "group in one shard of two": WEIGHT_MAP | {"/layers/b/vars": FIRST},
    "10,001 shards": {f"/{number}": f"m{number}.weights.h5" for number in range(10_001)},
    "not an object": "[]",
    "not JSON": "{",
    "no weight_map": "{}",
    "a key twice": f'{{"weight_map": {{"/a": "{FIRST}", "/a": "{FIRST}"}}}}',
    "NaN": '{"weight_map": {"/a": NaN}}',
    "17 MB": '{"weight_map": {}}' + " " * 17 * 2**20,
}


@pytest.mark.parametrize("weight_map", INDEXES.values(), ids=INDEXES)
def test_refuses_an_index(weight_map, shards):
    """PT-02."""
    with pytest.raises(PresetError) as caught:
        find(shards, json.dumps({"weight_map": None}) if weight_map is None else weight_map)
    assert caught.value.path == shards / HDF5_INDEX


def test_refuses_an_index_of_too_many_groups(shards, monkeypatch):
    monkeypatch.setattr(shard_index, "_MOST_NAMES", len(WEIGHT_MAP) - 1)
    with pytest.raises(WeightsFileError) as caught:
        find(shards, WEIGHT_MAP)
    assert caught.value.path == shards / HDF5_INDEX


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_an_index_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / HDF5_INDEX)
    with pytest.raises(WeightsFileError):
        find(tmp_path)


def test_refuses_a_dataset_in_two_shards(tmp_path):
    for shard in SHARDS:
        with h5py.File(tmp_path / shard, "w") as file:
            put(file, "layers/a/vars/0", np.zeros(2))
    with pytest.raises(WeightsFileError) as caught:
        find(tmp_path, {"/layers/a/vars": list(SHARDS)})
    assert "layers/a/vars/0" in caught.value.problem


def test_names_the_files_that_it_would_use():
    unsharded = {HDF5_WEIGHTS, HDF5_INDEX, FIRST, "config.json"}
    assert HDF5.used(unsharded) == {HDF5_WEIGHTS}
    assert HDF5.used(unsharded - {HDF5_WEIGHTS} | {"other.weights.h5"}) == {HDF5_INDEX, FIRST}
    assert HDF5.used({"config.json"}) == set()
