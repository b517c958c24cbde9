"""Writing HDF5 weights, in one file or in shards: Keras's own reader finds them, aligned so that they can be viewed."""

import json

import h5py
import ml_dtypes
import numpy as np
import pytest

from vertebra._weights.checkpoint import open_checkpoint
from vertebra._weights.hdf5.file_kind import HDF5, HDF5_INDEX, HDF5_WEIGHTS
from vertebra._weights.hdf5.writing import write_hdf5
from vertebra._weights.tensor_entry import ALIGNMENT, layout_of
from vertebra._weights.writing import Tensors

ARRAYS = {
    "layers/dense/vars/0": np.arange(12, dtype="float32").reshape(3, 4),
    "layers/dense/vars/1": np.arange(4, dtype="float32"),
    "layers/half/vars/0": np.arange(6, dtype="float16").reshape(2, 3),
    "layers/brain/vars/0": np.arange(5).astype(ml_dtypes.bfloat16),
    "layers/scale/vars/0": np.float32(2.5).reshape(()),
}


def write(arrays, folder, size=None):
    layouts = {name: layout_of(name, array.dtype.name, array.shape) for name, array in arrays.items()}
    write_hdf5(Tensors(layouts, {name: lambda a=array: a for name, array in arrays.items()}), folder, size)
    return {path.name for path in folder.iterdir()}


def opened(folder):
    return open_checkpoint(HDF5, {path.name for path in folder.iterdir()}, folder.joinpath)


def assert_same(checkpoint, arrays):
    assert checkpoint.entries.keys() == arrays.keys()
    for name, array in arrays.items():
        assert checkpoint.entries[name].dtype == array.dtype.name
        np.testing.assert_array_equal(checkpoint.view(name), array, strict=True)


def test_what_is_written_is_read_and_starts_where_jax_can_view_it(tmp_path):
    assert write(ARRAYS, tmp_path) == {HDF5_WEIGHTS}
    checkpoint = opened(tmp_path)
    assert_same(checkpoint, ARRAYS)
    assert {entry.start % ALIGNMENT for entry in checkpoint.entries.values()} == {0}


def test_bfloat16_is_stored_as_keras_stores_it(tmp_path):
    write(ARRAYS, tmp_path)
    with h5py.File(tmp_path / HDF5_WEIGHTS) as file:
        dataset = file["layers/brain/vars/0"]
        assert dataset.attrs["dtype"] == "bfloat16"
        assert np.array_equal(np.array(dataset).view(ml_dtypes.bfloat16), ARRAYS["layers/brain/vars/0"])
        assert [name for name in ARRAYS if "dtype" in file[name].attrs] == ["layers/brain/vars/0"]


@pytest.mark.parametrize(("bytes_each", "shards"), [(1, 5), (40, 3), (64, 2), (10_000, 1)])
def test_shards_are_as_large_as_asked_or_hold_one_tensor(tmp_path, bytes_each, shards):
    names = write(ARRAYS, tmp_path, bytes_each / 10**9)
    weights = sorted(name for name in names if name.endswith(".h5"))
    assert weights == ([HDF5_WEIGHTS] if shards == 1 else [f"model_{i:05}.weights.h5" for i in range(shards)])
    assert (HDF5_INDEX in names) == (shards > 1)


def test_a_group_that_is_split_has_all_its_shards_in_the_index(tmp_path):
    write(ARRAYS, tmp_path, 40e-9)
    index = json.loads((tmp_path / HDF5_INDEX).read_text())
    assert index["metadata"] == {"total_size": sum(array.nbytes for array in ARRAYS.values())}
    assert index["weight_map"] == {
        "/layers/dense/vars": ["model_00000.weights.h5", "model_00001.weights.h5"],
        "/layers/half/vars": ["model_00001.weights.h5"],
        "/layers/brain/vars": ["model_00001.weights.h5"],
        "/layers/scale/vars": ["model_00002.weights.h5"],
    }
    assert_same(opened(tmp_path), ARRAYS)


def test_an_empty_tensor_is_written_too(tmp_path):
    arrays = {"a/vars/0": np.zeros((0, 3), "float32"), "a/vars/1": np.ones(2, "float32")}
    write(arrays, tmp_path)
    assert_same(opened(tmp_path), arrays)
