"""Writing weights: one file, or shards of at most a size and an index that names them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from vertebra._weights.checkpoint import open_checkpoint
from vertebra._weights.safetensors.file_kind import INDEX, SAFETENSORS, WEIGHTS
from vertebra._weights.tensor_entry import layout_of
from vertebra._weights.writing import Tensors, split, write_safetensors

ARRAYS = {f"layer_{number}/kernel": np.full((4, 4), number, "float32") for number in range(5)}


def tensors(arrays):
    layouts = {name: layout_of(name, array.dtype.name, array.shape) for name, array in arrays.items()}
    return Tensors(layouts, {name: lambda array=array: array for name, array in arrays.items()})


@given(
    st.lists(st.integers(0, 10), min_size=1).map(lambda sizes: [layout_of(str(s), "int8", (s,)) for s in sizes]),
    st.integers(1, 12),
)
def test_shards_are_the_tensors_in_order_and_no_larger_than_asked(entries, limit):
    shards = split(entries, limit / 10**9)
    assert [entry for shard in shards for entry in shard] == entries
    assert all(sum(entry.size for entry in shard) <= limit or len(shard) == 1 for shard in shards)


def test_no_size_means_no_limit():
    entries = [layout_of("a", "uint8", (2**62,)), layout_of("b", "uint8", (2**62,))]
    assert split(entries, None) == [entries]


def test_one_file_holds_everything(tmp_path):
    write_safetensors(tensors(ARRAYS), tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == [WEIGHTS]
    assert load_file(tmp_path / WEIGHTS).keys() == ARRAYS.keys()


def test_shards_are_named_by_an_index_that_their_reader_accepts(tmp_path):
    write_safetensors(tensors(ARRAYS), tmp_path, 130e-9)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {INDEX, *(f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3))}
    assert json.loads((tmp_path / INDEX).read_text())["metadata"] == {"total_size": 5 * 64}
    checkpoint = open_checkpoint(SAFETENSORS, names, tmp_path.joinpath)
    assert checkpoint.entries.keys() == ARRAYS.keys()
    assert all(np.array_equal(checkpoint.view(name), array) for name, array in ARRAYS.items())


def test_each_tensor_is_read_once_when_its_turn_comes(tmp_path):
    read = []
    arrays = {name: lambda n=name, a=array: read.append(n) or a for name, array in ARRAYS.items()}
    write_safetensors(Tensors(tensors(ARRAYS).layouts, arrays), tmp_path, 130e-9)
    assert sorted(read) == sorted(ARRAYS)


def test_an_array_that_is_not_what_its_layout_says_is_not_written(tmp_path):
    wrong = Tensors({"a": layout_of("a", "float32", (3,))}, {"a": lambda: np.zeros(4, "float32")})
    with pytest.raises(ValueError, match="expected 12"):
        write_safetensors(wrong, tmp_path, None)
