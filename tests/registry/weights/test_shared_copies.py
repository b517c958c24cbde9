"""Copies of weights that several models of one file share, where tensors are immutable."""

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import vertebra
from vertebra._weights.shared_copies import _copies

pytestmark = pytest.mark.keras


@pytest.fixture
def preset(arguments, tmp_path):
    """A preset whose kernels JAX copies, as they are transposed; its files are an hour old."""
    large = vertebra.models.BertBackbone(**arguments | {"hidden_dim": 64, "intermediate_dim": 128})
    large.save_to_preset(tmp_path / "preset", format="transformers")
    age(tmp_path / "preset", 3600)
    return tmp_path / "preset"


@pytest.fixture
def shares(runtime):
    if runtime != "jax":
        pytest.skip("only tensors of JAX are immutable")


def age(folder, seconds):
    path = folder / "model.safetensors"
    modified = path.stat().st_ctime - seconds
    os.utime(path, (modified, modified))


def kernel(backbone):
    return backbone.get_layer("transformer_layer_0").up.kernel


def values(backbone):
    return {variable.path: np.array(variable.numpy()) for variable in backbone.weights}


def same(found, expected):
    return found.keys() == expected.keys() and all(np.array_equal(found[path], expected[path]) for path in found)


class Ranges(list):
    def __contains__(self, address):
        return any(address in span for span in self)


def mapped_ranges(path):
    """Returns the addresses at which this process has mapped a file."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith(str(path))]
    return Ranges(range(int(start, 16), int(end, 16)) for start, end in spans)


def load(preset):
    return vertebra.Backbone.from_preset(preset)


def test_a_second_load_has_the_same_values(preset):
    first = load(preset)
    second = load(preset)
    assert same(values(second), values(first))


def test_a_second_load_shares_the_memory_of_copies(preset, address, shares):
    first, second = load(preset), load(preset)
    assert address(kernel(second).value) == address(kernel(first).value)
    assert kernel(second).value is not kernel(first).value


def test_the_memory_is_shared_until_the_last_model_is_deleted(preset, address, shares):
    first, second = load(preset), load(preset)
    where = address(kernel(first).value)
    del first
    gc.collect()
    assert address(kernel(load(preset)).value) == where == address(kernel(second).value)


def test_the_copies_are_freed_with_the_models(preset, shares):
    gc.collect()
    before = len(_copies)
    first, second = load(preset), load(preset)
    assert len(_copies) > before
    del first, second
    gc.collect()
    assert len(_copies) == before


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/maps lists the mappings")
def test_no_view_of_a_file_is_shared(tmp_path, address, shares):
    """A part of a fused bias may be aligned although the bias is not: JAX views it."""
    sizes = {"vocabulary_size": 99, "num_layers": 2, "num_heads": 2, "hidden_dim": 520, "intermediate_dim": 64}
    vertebra.models.GPT2Backbone(**sizes, max_sequence_length=16).save_to_preset(tmp_path, format="transformers")
    age(tmp_path, 3600)
    gc.collect()
    before = set(_copies)
    loaded = load(tmp_path)
    ranges = mapped_ranges(tmp_path / "model.safetensors")
    viewed = {variable.path for variable in loaded.weights if address(variable.value) in ranges}
    assert any(path.endswith("bias") for path in viewed)
    assert set(_copies) - before
    assert not [key for key in set(_copies) - before if address(_copies[key]) in ranges]


@pytest.mark.parametrize("trained", [0, 1], ids=["the first", "the second"])
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
def test_training_one_model_changes_no_other(trained, jit, preset, train, shares):
    models = [load(preset), load(preset)]
    expected = values(models[0])
    train(models[trained], steps=3, jit=jit)
    assert not same(values(models[trained]), expected)
    assert same(values(models[1 - trained]), expected)
    assert same(values(load(preset)), expected)
    train(models[1 - trained], steps=1, jit=jit)
    assert same(values(load(preset)), expected)


def test_a_model_whose_values_were_deleted_shares_nothing(preset, shares):
    first = load(preset)
    expected = values(first)
    for variable in first.weights:
        variable.value.delete()
    assert same(values(load(preset)), expected)


def test_a_file_that_was_replaced_is_read_again(preset, arguments):
    first = load(preset)
    other = vertebra.models.BertBackbone(**arguments | {"hidden_dim": 64, "intermediate_dim": 128})
    other.save_to_preset(preset, format="transformers")
    age(preset, 3500)
    second = load(preset)
    assert same(values(second), values(other))
    assert not np.array_equal(kernel(first).numpy(), kernel(second).numpy())


def test_a_file_that_was_just_written_is_read_again(preset, address, shares):
    """Two changes within one tick of the file system's clock have one time of modification."""
    age(preset, 0)
    first, second = load(preset), load(preset)
    assert address(kernel(second).value) != address(kernel(first).value)


def test_another_dtype_is_another_copy(preset, shares):
    first, second = load(preset), vertebra.Backbone.from_preset(preset, dtype="bfloat16")
    assert (kernel(first).dtype, kernel(second).dtype) == ("float32", "bfloat16")
    assert np.array_equal(kernel(first).numpy().astype(kernel(second).numpy().dtype), kernel(second).numpy())
