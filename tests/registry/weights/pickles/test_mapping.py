"""Pickles of torch: their tensors are read to the bit, and a pickle that names anything else is refused."""

import collections
import fractions
import io
import pickle
import tarfile
import zipfile

import pytest
import torch

from vertebra._weights.checkpoint import open_checkpoint
from vertebra._weights.pickles.file_kind import PICKLE, PICKLE_INDEX, PickleKind
from vertebra._weights.pickles.mapping import map_pickle
from vertebra.errors import WeightsFileError

pytestmark = pytest.mark.keras(once=True)

BOTH = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
WIDTHS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
NEW = (torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64)


@pytest.fixture
def path(tmp_path):
    return tmp_path / PICKLE


def save(value, path, zipped=True):
    torch.save(value, path, _use_new_zipfile_serialization=zipped)


def bits(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def check(path, expected):
    """Compares the tensors of a pickle with the expected ones, and returns the metadata."""
    mapped = map_pickle(path)
    assert mapped.header.entries.keys() == expected.keys()
    for name, tensor in expected.items():
        array = mapped.view(name)
        assert (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) == (array.dtype.name, array.shape)
        assert array.tobytes() == bits(tensor)
    return mapped.header.metadata


def problem(path):
    with pytest.raises(WeightsFileError) as caught:
        map_pickle(path)
    assert caught.value.path == path
    return str(caught.value)


# === Tensors ===


@BOTH
def test_every_dtype_keeps_its_bits(path, zipped):
    values = torch.tensor([1.5, -2.0, float("nan"), float("inf"), 0.1])
    state = {f"layer.{dtype}": values.to(dtype) for dtype in FLOATS}
    state |= {f"layer.{dtype}": torch.arange(5).to(dtype) for dtype in WIDTHS}
    if zipped:
        state |= {f"layer.{dtype}": torch.arange(5).to(dtype) for dtype in NEW}
    save(state, path, zipped)
    check(path, state)


@BOTH
def test_views_and_shared_storages_are_written_out(path, zipped):
    table = torch.arange(12.0).reshape(3, 4)
    state = {
        "wte.weight": table,
        "lm_head.weight": table,
        "part.weight": table[1:, 1:3],
        "turned.weight": table.t(),
        "repeated.weight": table[:1].expand(5, 4),
        "scalar.weight": torch.tensor(3.0),
        "empty.weight": torch.zeros(0, 4),
        "parameter.weight": torch.nn.Parameter(torch.ones(2), requires_grad=False),
    }
    save(state, path, zipped)
    check(path, state)


def test_a_state_dict_of_a_module_with_hooks_and_attributes_is_read(path):
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    layer[0].weight.tensor_model_parallel = True  # as some trainers mark parameters
    state = layer.state_dict(keep_vars=True)
    save(state, path)
    check(path, state)


@BOTH
@pytest.mark.parametrize("key", ["state_dict", "model", "module", "net/weights"])
def test_tensors_may_be_under_a_key(path, key, zipped):
    state = {"layer.weight": torch.ones(2)}
    outer, _, inner = key.partition("/")
    optimizer = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]}
    random = {"cpu": torch.zeros(4, dtype=torch.uint8)}
    training = {"epoch": 3, "best": torch.tensor(0.5), "optimizer": optimizer, "rng_state": random, "name": None}
    save({outer: {inner: state} if inner else state} | training, path, zipped)
    metadata = check(path, state)
    assert metadata["key"] == key
    assert PickleKind(PICKLE, PICKLE_INDEX).notes(metadata) == [f"its tensors are under the key {key!r} of the file"]


def test_values_that_are_no_tensors_are_told(path):
    save({"layer.weight": torch.ones(2), "version": 3, "layer._extra_state": None}, path)
    metadata = check(path, {"layer.weight": torch.ones(2)})
    assert "layer._extra_state, version" in PickleKind(PICKLE, PICKLE_INDEX).notes(metadata)[0]


def test_several_sets_of_tensors_are_refused_by_their_keys(path):
    state = {"layer.weight": torch.ones(2)}
    save({"model": state, "ema": state}, path)
    assert "'model', 'ema'" in problem(path)


def test_shards_are_read_by_their_index(tmp_path):
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    for number, name in enumerate(names):
        save({f"layer.{number}": torch.full((2,), float(number))}, tmp_path / name)
    (tmp_path / PICKLE_INDEX).write_text(
        f'{{"metadata": {{}}, "weight_map": {{"layer.0": "{names[0]}", "layer.1": "{names[1]}"}}}}'
    )
    checkpoint = open_checkpoint(PickleKind(PICKLE, PICKLE_INDEX), {PICKLE_INDEX, *names}, tmp_path.joinpath)
    assert checkpoint.view("layer.1").tolist() == [1.0, 1.0]
    assert not checkpoint.header.disputes


# === Refusals ===


class Harmless:
    """An object of a class that is not torch's: nothing happens, whether it is read or not."""


OTHERS = {
    "a class": fractions.Fraction(1, 2),
    "an object": Harmless(),
    "a function": len,
    "a module": torch.nn.Linear(2, 2),
    "a sparse tensor": torch.eye(2).to_sparse(),
    "complex numbers": torch.ones(2, dtype=torch.complex64),
}


@BOTH
@pytest.mark.parametrize("value", OTHERS.values(), ids=OTHERS)
def test_other_names_are_refused(path, value, zipped):
    save({"layer.weight": torch.ones(2), "other": value}, path, zipped)
    text = problem(path)
    assert "could run code" in text
    assert "safetensors" in text


class Marker:
    """Creates a file when it is read with Python's own `pickle`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@BOTH
def test_no_function_that_a_pickle_names_is_called(path, tmp_path, zipped):
    save({"layer.weight": torch.ones(2), "other": Marker(tmp_path / "made")}, path, zipped)
    assert "io.open" in problem(path)
    assert not (tmp_path / "made").exists()


def test_a_name_that_is_allowed_gives_no_access_to_others(path):
    """Protocol 4 takes dotted names apart: `OrderedDict.fromkeys.__self__` would lead anywhere."""
    data = b"\x80\x04\x8c\x0bcollections\x8c\x1dOrderedDict.__init_subclass__\x93."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    assert "OrderedDict.__init_subclass__ could run code" in problem(path)


UNSOUND = {
    "an empty file": b"",
    "text": b"text",
    "a pointer": b"version https://git-lfs.github.com/spec/v1",
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "a cut pickle": b"\x80\x02",
    "another pickle": pickle.dumps({"a": 1}),
    "a zip archive": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("data", UNSOUND.values(), ids=UNSOUND)
def test_other_files_are_refused(path, data):
    path.write_bytes(data)
    problem(path)


@BOTH
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(path, share, zipped):
    save({f"layer.{number}": torch.randn(50) for number in range(5)}, path, zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert "Copy or download the file again" in problem(path)


def test_the_format_of_tar_archives_is_named(path):
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    assert "tar archive" in problem(path)


def test_a_compressed_archive_is_refused(path, tmp_path):
    save({"layer.weight": torch.zeros(100)}, path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "c.bin", "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert "compressed" in problem(tmp_path / "c.bin")


def test_a_view_beyond_its_storage_is_refused(path):
    save({"layer.weight": torch.zeros(2)}, path)
    shape, larger = b"K\x02\x85", b"K\x03\x85"  # the tuples (2,) and (3,)
    path.write_bytes(path.read_bytes().replace(shape, larger, 1))
    assert "ends at item 2 of a storage of 2" in problem(path)


def test_a_tensor_that_grows_beyond_its_file_is_refused(path):
    save({"layer.weight": torch.zeros(1).expand(10**11)}, path)
    assert "more than a file of its size" in problem(path)


def test_a_pickle_that_refers_to_itself_ends(path):
    state = collections.OrderedDict({"layer.weight": torch.ones(2)})
    state["self"] = state
    save(state, path, zipped=False)
    assert "several sets" in problem(path)


def test_a_view_with_another_sign_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"a.b": torch._neg_view(torch.ones(3))}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsFileError, match="changes the sign"):
        map_pickle(tmp_path / "pytorch_model.bin")
