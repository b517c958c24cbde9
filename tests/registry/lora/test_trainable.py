"""Co-trained weights: biases and whole layers, whose values apply only while the adapter is active."""

import numpy as np
import pytest

import vertebra
from vertebra.errors import LoraTargetError

pytestmark = pytest.mark.keras

POOLER = {"pooled_dense/kernel", "pooled_dense/bias"}


@pytest.fixture
def still(golden):
    """The reference BERT without dropout, so that training is reproducible."""
    return vertebra.Backbone.from_preset(golden / "transformers", dropout=0.0, attention_dropout=0.0)


def base(values):
    """Returns the values of base weights, out of those of all weights."""
    return {name: array for name, array in values.items() if "/lora/" not in name}


def changed(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}


def biases(names, layers=""):
    return {name for name in names if name.endswith(("/bias", "/beta")) and layers in name}


# === Selected weights ===


def test_no_bias_trains_unless_it_was_asked_for(still, values, train):
    before = values(still)
    assert still.enable_lora(2).trained == ()
    train(still)
    assert not changed(before, values(still))


def test_biases_of_the_adapted_layers(still, values):
    receipt = still.enable_lora(2, ["value", "mlp.down"], bias="lora")
    names = values(still)
    expected = biases(names, "self_attention/value") | biases(names, "feedforward_output_dense")
    assert len(expected) == 4
    assert set(receipt.trained) == expected
    assert receipt.parameters_trained == receipt.parameters_added + 4 * 16


def test_biases_of_all_layers_are_those_of_normalisations_too(still, values, train):
    before = values(still)
    receipt = still.enable_lora(2, bias="all")
    assert set(receipt.trained) == biases(before)
    assert len(receipt.trained) == 18
    train(still)
    # Softmax cancels a bias of the keys, and only the first token reaches the pooler.
    assert {name for name in biases(before) if "key" not in name} == changed(before, values(still))


KEY = "transformer_layer_0/self_attention/key"


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["pooled_dense"], ["pooled_dense/bias", "pooled_dense/kernel"]),
        (["embeddings_layer_norm"], ["embeddings_layer_norm/beta", "embeddings_layer_norm/gamma"]),
        (["*_0/self_attention/key"], [f"{KEY}/bias", f"{KEY}/kernel"]),
        (["pooled_*", "pooled_dense"], ["pooled_dense/bias", "pooled_dense/kernel"]),
        (["position_embedding"], ["position_embedding/embeddings"]),
    ],
    ids=str,
)
def test_layers_that_train_in_full(still, targets, expected):
    receipt = still.enable_lora(2, train=targets)
    assert sorted(receipt.trained) == expected
    assert {variable.path for variable in still.trainable_weights} >= set(expected)
    assert all(name in str(receipt) for name in expected)


def test_a_layer_may_be_adapted_and_train_in_full(still, values, train):
    before = values(still)
    still.enable_lora(2, ["query"], train=["query"], bias="lora")
    train(still)
    kinds = ("kernel", "bias")
    names = {f"transformer_layer_{i}/self_attention/query/{kind}" for i in (0, 1) for kind in kinds}
    assert changed(before, values(still)) == names


@pytest.mark.parametrize("train", [["pooled_dence"], ["pooled_dense", "nothing"], "pooled_dense", [5]])
def test_a_layer_to_train_that_is_not_there_is_an_error(still, inputs, state, train):
    before = state(still, inputs)
    with pytest.raises(LoraTargetError):
        still.enable_lora(2, train=train)
    assert state(still, inputs) == before


# === Ownership of the values ===


@pytest.fixture
def trained(still, train, values, run, state, inputs):
    """A backbone whose adapter co-trained biases and the pooler, its original values, and its current outputs."""
    before = state(still, inputs), values(still), run(still)
    still.enable_lora(2, bias="all", train=["pooled_dense"], seed=1)
    train(still, steps=2)
    assert changed(before[1], values(still)) >= POOLER
    return still, before, run(still)


def equal(found, expected):
    return all(np.array_equal(found[name], expected[name]) for name in expected)


def test_without_the_adapter_the_base_has_its_own_values_to_the_bit(trained, values, run):
    backbone, (_, base_values, outputs), adapted = trained
    backbone.disable_lora()
    assert not changed(base_values, values(backbone))
    assert equal(run(backbone), outputs)
    backbone.activate_lora("default")
    assert equal(run(backbone), adapted)
    assert {variable.path for variable in backbone.trainable_weights} >= POOLER


def test_unloading_leaves_the_backbone_as_it_was(trained, state, inputs):
    backbone, (before, _, _), _ = trained
    backbone.unload_lora()
    assert state(backbone, inputs) == before


def test_another_adapter_sees_the_base_as_it_was(trained, values, run):
    backbone, (_, base_values, outputs), adapted = trained
    backbone.enable_lora(2, ["key"], name="other")
    assert not changed(base_values, values(backbone))
    assert equal(run(backbone), outputs)
    assert not POOLER & {variable.path for variable in backbone.trainable_weights}
    backbone.unload_lora("other")
    backbone.activate_lora("default")
    assert equal(run(backbone), adapted)


@pytest.mark.parametrize("target", ["adapter.safetensors", "adapter"], ids=["file", "folder"])
@pytest.mark.parametrize("is_active", [True, False])
def test_values_are_saved_with_the_adapter_whether_it_acts_or_not(trained, golden, run, tmp_path, target, is_active):
    backbone, _, adapted = trained
    if not is_active:
        backbone.disable_lora()
    backbone.save_lora_weights(tmp_path / target, "default")
    fresh = vertebra.Backbone.from_preset(golden / "transformers")
    receipt = fresh.load_lora_weights(tmp_path / target)
    assert set(receipt.trained) >= POOLER
    assert equal(run(fresh), adapted)
    before = run(vertebra.Backbone.from_preset(golden / "transformers"))
    fresh.unload_lora()
    assert equal(run(fresh), before)


def test_a_backbone_that_was_frozen_is_frozen_again_after_it(golden, train):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", trainable=False)
    backbone.enable_lora(2, train=["pooled_dense"])
    train(backbone)
    backbone.unload_lora()
    assert not backbone.trainable
    assert not backbone.trainable_weights


def test_layers_that_did_not_train_before_do_not_after(still):
    still.get_layer("embeddings_layer_norm").trainable = False
    still.get_layer("pooled_dense").bias.trainable = False
    before = {variable.path for variable in still.trainable_weights}
    still.enable_lora(2, bias="all", train=["pooled_dense"])
    still.unload_lora()
    assert {variable.path for variable in still.trainable_weights} == before
