"""Adapter layers: names, dtypes and initial values of their variables, which share no memory."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra._lora.layers.adapter_layers import SHARED, as_arrays
from vertebra._lora.state import adapters_of

pytestmark = pytest.mark.keras


def layers_of(model, name="default"):
    return adapters_of(model).layers_of(name)


def test_variables_have_the_names_that_files_have(backbone):
    backbone.enable_lora(2, ["query", "token_embedding"])
    table = layers_of(backbone).variables()
    assert {path: list(own) for path, own in table.items()} == {
        "token_embedding": ["a", "b"],
        "transformer_layer_0/self_attention/query": ["a", "b"],
        "transformer_layer_1/self_attention/query": ["a", "b"],
    }
    assert [variable.path for variable in table["token_embedding"].values()] == [
        "token_embedding/lora/a",
        "token_embedding/lora/b",
    ]


def test_what_all_layers_share_is_there_once(backbone):
    receipt = backbone.enable_lora(4, strategy="vera")
    table = layers_of(backbone).variables()
    assert {name: tuple(variable.shape) for name, variable in table[SHARED].items()} == {"a": (16, 4), "b": (4, 16)}
    assert receipt.parameters_added == 2 * 4 * 16 + 4 * (4 + 16)
    assert receipt.parameters_trained == 4 * (4 + 16)
    shared = {id(layer.shared) for layer in layers_of(backbone).layers.values()}
    assert len(shared) == 1


def test_a_layer_may_be_named_as_what_all_share():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="shared")(keras.layers.Dense(4, name="body")(inputs)))
    receipt = vertebra.lora.enable(model, 2, ["all-linear"], strategy="vera")
    assert receipt.parameters_added == (4 * 2 + 2 * 4) + (2 + 4) + (2 + 3)


def test_values_are_copies(backbone):
    backbone.enable_lora(2, ["query"])
    adapter_layers = layers_of(backbone)
    before = adapter_layers.values()
    for variable in adapter_layers.flat():
        variable.assign(np.ones(variable.shape))
    assert not any(array.all() for own in before.values() for name, array in own.items() if name == "b")


def test_a_loaded_adapter_trains_beside_its_file_and_not_in_it(backbone, golden, train, tmp_path, digest):
    backbone.enable_lora(2, train=["pooled_dense"])
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    before = digest(tmp_path)
    fresh = vertebra.Backbone.from_preset(golden / "transformers")
    fresh.load_lora_weights(tmp_path / "adapter.safetensors")
    train(fresh, steps=2)
    assert digest(tmp_path) == before
    again = vertebra.Backbone.from_preset(golden / "transformers")
    again.load_lora_weights(tmp_path / "adapter.safetensors")
    assert np.array_equal(
        again.get_layer("pooled_dense").kernel.numpy(), backbone.get_layer("pooled_dense").kernel.numpy()
    )


@pytest.mark.parametrize("strategy", ["lora", "dora", "vera", "pissa", "keras"])
def test_a_seed_repeats_the_start_of_every_strategy(golden, strategy):
    def start(seed):
        backbone = vertebra.Backbone.from_preset(golden / "transformers")
        backbone.enable_lora(2, strategy=strategy, seed=seed)
        values = layers_of(backbone).values()
        return b"".join(array.tobytes() for own in as_arrays(values).values() for array in own.values())

    assert start(7) == start(7) != start(8)


@pytest.mark.parametrize("seed", [0, -1, 2**40, 10**30])
def test_any_int_is_a_seed(backbone, seed):
    backbone.enable_lora(2, dropout=0.1, seed=seed)
    assert all(0 <= layer.seed < 2**31 for layer in layers_of(backbone).layers.values())


def test_dropout_of_a_loaded_adapter_acts_while_training(backbone, golden, inputs, fill, run, tmp_path):
    backbone.enable_lora(4, dropout=0.5)
    fill(backbone)
    backbone.save_lora_weights(tmp_path / "adapter.safetensors")
    still = vertebra.Backbone.from_preset(golden / "transformers", dropout=0.0, attention_dropout=0.0)
    still.load_lora_weights(tmp_path / "adapter.safetensors")
    first, second = (keras.ops.convert_to_numpy(still(inputs, training=True)["pooled_output"]) for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(run(still)["pooled_output"], run(backbone)["pooled_output"])


def test_parts_of_adapters_that_act_together_have_names_of_their_own(backbone):
    backbone.enable_lora(2, ["query"], name="a")
    backbone.enable_lora(3, ["query"], name="b")
    backbone.activate_lora("a", "b")
    paths = [variable.path for variable in backbone.trainable_weights]
    assert len(set(paths)) == len(paths) == 8
    assert {path.split("/")[-2] for path in paths} == {"lora", "lora_1"}
