"""Copies share no memory: training one model, as Keras compiles it, leaves the values of every other."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra._lora.state import adapters_of

pytestmark = pytest.mark.keras


def equal(found, expected):
    return all(np.array_equal(found[key], expected[key]) for key in expected)


def addresses(model, address):
    return {address(variable.value) for variable in model.weights if 0 not in variable.shape}


@pytest.mark.parametrize("trained", ["original", "copy"])
def test_training_a_copy_or_its_original_leaves_the_other(golden, run, train, address, trained):
    original = vertebra.Backbone.from_preset(golden / "transformers")
    original.enable_lora(2)
    pair = {"original": original, "copy": original.merged_copy()}
    assert not addresses(pair["original"], address) & addresses(pair["copy"], address)
    other = pair["copy" if trained == "original" else "original"]
    before = run(other)
    train(pair[trained], jit=True)
    assert equal(run(other), before)


def test_a_copy_of_a_quantised_backbone_shares_nothing(golden, run, train, monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # Keras collects once for each layer
    original = vertebra.Backbone.from_preset(golden / "transformers")
    with pytest.warns(UserWarning, match="does not have a `quantize` method"):
        original.quantize("int8")
    copy = original.merged_copy()
    before = run(original)
    train(copy, jit=True)
    assert equal(run(original), before)


def test_training_one_adapter_leaves_the_values_of_the_others(several, run, train, inputs):
    """On jax, training donates the memory of trained variables, which invalidates every alias of it."""
    backbone, outputs = several
    backbone(inputs, adapters=["a", "b", "c"])  # variables for calls are a separate copy
    for name in ("a", "b", "c"):
        backbone.activate_lora(name)
        train(backbone, jit=True)
        outputs[name] = run(backbone)
    for name in (None, "b", "c", "a"):
        backbone.activate_lora(*([name] if name else []))
        assert equal(run(backbone), outputs[name])
        found = backbone(inputs, adapters=["a", None, "c"])["sequence_output"]
        for row, chosen in enumerate(("a", None, "c")):
            expected = outputs[chosen]["sequence_output"][row]
            assert np.abs(keras.ops.convert_to_numpy(found)[row] - expected).max() <= 2e-6


def test_training_after_a_merge_or_a_save_leaves_what_was_kept(golden, run, train, tmp_path):
    backbone = vertebra.Backbone.from_preset(golden / "transformers")
    backbone.enable_lora(2, bias="lora", seed=1)
    train(backbone, jit=True)
    adapted = run(backbone)
    backbone.merge_lora()
    merged = {name: array.copy() for name, array in run(backbone).items()}
    backbone.unmerge_lora()
    assert equal(run(backbone), adapted)
    kept = adapters_of(backbone).values_of("default")
    before = [array.copy() for own in kept.values() for array in own.values()]
    train(backbone, jit=True)
    assert all(map(np.array_equal, before, [array for own in kept.values() for array in own.values()]))
    assert not equal(run(backbone), merged)
    backbone.unload_lora()
    assert equal(run(backbone), run(vertebra.Backbone.from_preset(golden / "transformers")))


def test_backbones_of_one_file_share_nothing_that_trains(golden, run, train):
    one, other = (vertebra.Backbone.from_preset(golden / "transformers") for _ in range(2))
    before = run(other)
    train(one, jit=True)
    assert equal(run(other), before)
