"""Assigning weights: their values are the file's own bytes, viewed in a private mapping."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import vertebra
from vertebra._discovery.runtimes import bind
from vertebra._weights.abstract import abstract_build
from vertebra._weights.assign import assign_seeds

pytestmark = pytest.mark.keras

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/maps lists the mappings")


def mapped_ranges(path):
    """Returns the ranges of addresses at which this process has mapped a file."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith(str(path))]
    return [range(int(start, 16), int(end, 16)) for start, end in spans]


def views(backbone, path, address):
    """Returns the paths of the weights whose values are in the mapping of a file."""
    ranges = mapped_ranges(path)
    assert ranges
    return {v.path for v in backbone.weights if any(address(v.value) in span for span in ranges)}


@needs_proc
def test_every_weight_of_a_native_preset_is_viewed_in_the_file(backbone, tmp_path, address):
    backbone.save_to_preset(tmp_path / "preset")
    loaded = vertebra.Backbone.from_preset(tmp_path / "preset")
    seen = views(loaded, tmp_path / "preset" / "model.safetensors", address)
    assert seen == {variable.path for variable in loaded.weights}


@needs_proc
def test_nothing_is_viewed_once_the_dtype_changes(backbone, tmp_path, address):
    backbone.save_to_preset(tmp_path / "preset")
    loaded = vertebra.Backbone.from_preset(tmp_path / "preset", dtype="bfloat16")
    ranges = mapped_ranges(tmp_path / "preset" / "model.safetensors")
    assert not any(address(v.value) in span for v in loaded.weights for span in ranges)


@needs_proc
def test_torch_views_transposed_tensors_too(arguments, address, runtime, tmp_path):
    if runtime != "torch":
        pytest.skip("only torch views tensors whose axes are reversed")
    large = vertebra.models.BertBackbone(**arguments | {"hidden_dim": 64, "intermediate_dim": 128})
    large.save_to_preset(tmp_path / "preset", format="transformers")
    loaded = vertebra.Backbone.from_preset(tmp_path / "preset")
    assert loaded.get_layer("pooled_dense").kernel.value.stride() == (1, 64)
    seen = views(loaded, tmp_path / "preset" / "model.safetensors", address)
    assert seen == {variable.path for variable in loaded.weights}


@needs_proc
def test_torch_copies_transposed_tensors_that_are_smaller_than_a_page(golden, backbone, address, runtime):
    """Some processors round products with few columns differently if a kernel's alignment differs: none may show."""
    if runtime != "torch":
        pytest.skip("only torch views tensors whose axes are reversed")
    assert all(variable.value.is_contiguous() for variable in backbone.weights)
    seen = views(backbone, golden / "transformers" / "model.safetensors", address)
    assert {variable.path for variable in backbone.weights if len(variable.shape) == 1} <= seen


def test_transposed_tensors_are_used_the_right_way_round(golden, backbone):
    from safetensors.numpy import load_file

    stored = load_file(golden / "transformers" / "model.safetensors")
    layer = backbone.get_layer("transformer_layer_0")
    assert np.array_equal(layer.up.kernel.numpy(), stored["encoder.layer.0.intermediate.dense.weight"].T)
    assert np.array_equal(layer.attention.query.bias.numpy(), stored["encoder.layer.0.attention.self.query.bias"])


def test_seeds_start_as_keras_would_start_them():
    with abstract_build():
        inputs = keras.Input((2,))
        model = keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.Dropout(0.5, seed=7)(inputs)))
    assign_seeds(bind(), model)
    fixed, drawn = (layer.seed_generator.state for layer in model.layers[1:])
    usual = keras.random.SeedGenerator(7).state
    assert np.array_equal(fixed.numpy(), usual.numpy())
    assert (fixed.dtype, tuple(fixed.shape)) == (usual.dtype, tuple(usual.shape))
    assert drawn.numpy()[1] == 0
    assert drawn.numpy()[0] != fixed.numpy()[0]


def test_seeds_that_have_a_state_keep_it():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5, seed=7)])
    model(np.ones((1, 2)), training=True)
    state = model.layers[0].seed_generator.state.numpy().copy()
    assign_seeds(bind(), model)
    assert np.array_equal(model.layers[0].seed_generator.state.numpy(), state)
    assert state[1] > 0
