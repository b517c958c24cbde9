"""Checkpoints: one file, or shards that agree with their index about every tensor."""

import json

import numpy as np
import pytest
import safetensors.numpy

from vertebra._weights.checkpoint import open_checkpoint, read_headers
from vertebra._weights.safetensors.file_kind import INDEX, SAFETENSORS, WEIGHTS
from vertebra.errors import PresetError, WeightsFileError

ARRAYS = {"a": np.arange(3.0), "b": np.arange(4, dtype=np.int8), "c": np.zeros((2, 0))}
SHARDS = {"model-00001-of-00002.safetensors": ["a"], "model-00002-of-00002.safetensors": ["b", "c"]}
WEIGHT_MAP = {name: shard for shard, names in SHARDS.items() for name in names}


@pytest.fixture
def preset(tmp_path):
    """A folder with two shards and their index."""
    for shard, names in SHARDS.items():
        safetensors.numpy.save_file({name: ARRAYS[name] for name in names}, tmp_path / shard)
    write_index(tmp_path, WEIGHT_MAP)
    return tmp_path


def write_index(folder, weight_map):
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def opened(folder):
    return open_checkpoint(SAFETENSORS, {path.name for path in folder.iterdir()}, folder.joinpath)


def test_views_all_shards(preset):
    checkpoint = opened(preset)
    assert checkpoint.path == preset / INDEX
    assert checkpoint.entries.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert checkpoint.entries[name].shape == array.shape
        np.testing.assert_array_equal(checkpoint.view(name), array, strict=True)


def test_one_file_wins_over_shards(preset):
    safetensors.numpy.save_file({"a": ARRAYS["b"]}, preset / WEIGHTS)
    checkpoint = opened(preset)
    assert checkpoint.path == preset / WEIGHTS
    np.testing.assert_array_equal(checkpoint.view("a"), ARRAYS["b"])


def test_reads_headers_alone(preset):
    header = read_headers(SAFETENSORS, {path.name for path in preset.iterdir()}, preset.joinpath)
    assert {shard: sorted(file.entries) for shard, file in header.files.items()} == SHARDS
    assert header.entries.keys() == ARRAYS.keys()


def test_fetches_each_shard_that_the_index_names_and_no_other(preset):
    (preset / "model-00003-of-00003.safetensors").write_bytes(b"")
    fetched = set()
    names = {path.name for path in preset.iterdir()}
    read_headers(SAFETENSORS, names, lambda name: fetched.add(name) or preset / name)
    assert fetched == {INDEX, *SHARDS}


def test_releasing_leaves_what_was_read_to_be_read_again_and_what_was_written_out(preset):
    checkpoint = opened(preset)
    array = checkpoint.view("a")
    kept = array.copy()
    checkpoint.release("a")
    np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize(
    ("names", "used"),
    [
        ({"config.json", WEIGHTS, "tokenizer.json"}, {WEIGHTS}),
        ({WEIGHTS, INDEX, *SHARDS}, {WEIGHTS}),
        ({"config.json", INDEX, *SHARDS, "model-1.safetensors", "certificate.safetensors"}, {INDEX, *SHARDS}),
        ({"config.json"}, set()),
    ],
)
def test_the_files_of_a_load_are_told_by_their_names_alone(names, used):
    assert SAFETENSORS.used(names) == used


def test_a_preset_without_weights_is_refused(tmp_path):
    (tmp_path / "model.weights.h5").write_bytes(b"")
    with pytest.raises(WeightsFileError):
        opened(tmp_path)


@pytest.mark.parametrize(
    "weight_map",
    [
        {},
        [],
        None,
        {"a": 1},
        {"a": None},
        {"a": ["model-00001-of-00002.safetensors"]},
        {"a": "../model-00001-of-00002.safetensors"},
        {"a": "/model-00001-of-00002.safetensors"},
        {"a": "shards/model-00001-of-00002.safetensors"},
        {"a": "c:\\model-00001-of-00002.safetensors"},
        {"a": "model-00001-of-00002.safetensors\n"},
        {"a": "model-00001-of-00002.safetensors\0"},
        {"a": "model-00001-of-00002.bin"},
        {"a": ".safetensors"},
        {"a": ""},
        {"a": INDEX},
        WEIGHT_MAP | {"d": "model-00003-of-00003.safetensors"},
        WEIGHT_MAP | {"a": "model-00002-of-00002.safetensors"},
        {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
        {f"t{number}": f"m{number}.safetensors" for number in range(10_001)},
    ],
)
def test_refuses_an_index_that_names_what_is_not_there(weight_map, preset):
    write_index(preset, weight_map)
    with pytest.raises(WeightsFileError) as caught:
        opened(preset).header.check(ARRAYS)
    assert caught.value.path == preset / INDEX


def test_an_index_may_name_tensors_that_are_not_used(preset):
    write_index(preset, WEIGHT_MAP | {"d": "model-00001-of-00002.safetensors"})
    header = opened(preset).header
    assert list(header.disputes) == ["d"]
    with pytest.raises(WeightsFileError, match=r"00001.*disagree about d"):
        header.check(["a", "d"])


def test_two_shards_may_not_hold_the_same_tensor(preset):
    safetensors.numpy.save_file(ARRAYS, preset / "model-00002-of-00002.safetensors")
    with pytest.raises(WeightsFileError, match=r"disagree|both hold"):
        opened(preset).header.check(["a"])


def test_texts_in_the_metadata_of_the_index_and_of_the_shards_are_kept(preset):
    safetensors.numpy.save_file(
        {"a": ARRAYS["a"]}, preset / "model-00001-of-00002.safetensors", {"format": "pt", "one": "of the shard"}
    )
    metadata = {"total_size": 1, "other": "of the index"}
    (preset / INDEX).write_text(json.dumps({"metadata": metadata, "weight_map": WEIGHT_MAP}))
    assert opened(preset).header.metadata == {"format": "pt", "one": "of the shard", "other": "of the index"}


@pytest.mark.parametrize("metadata", [None, [], "text", 1])
def test_metadata_of_an_index_that_is_no_table_is_ignored(metadata, preset):
    (preset / INDEX).write_text(json.dumps({"metadata": metadata, "weight_map": WEIGHT_MAP}))
    assert opened(preset).header.metadata == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": {"a": "x", "a": "y"}}', '{"weight_map": {"a": NaN}}'])
def test_refuses_an_index_that_is_unsound(text, preset):
    (preset / INDEX).write_text(text)
    with pytest.raises(PresetError):
        opened(preset)


def test_refuses_a_shard_that_is_unsound(preset):
    (preset / "model-00002-of-00002.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(WeightsFileError) as caught:
        opened(preset)
    assert caught.value.path == preset / "model-00002-of-00002.safetensors"
