"""Freezing and thawing a model with an adapter: afterwards, what trained before trains, and nothing else."""

import copy

import keras
import numpy as np
import pytest

import vertebra

pytestmark = pytest.mark.keras


@pytest.fixture
def trained():
    """Returns the paths of the variables of a model that train."""
    return lambda model: {variable.path for variable in model.trainable_variables}


@pytest.fixture
def extended(plain):
    """A functional model of the backbone's layers and a head."""
    return keras.Model(plain.input, keras.layers.Dense(1, name="head")(plain.output["pooled_output"]))


def again(layers):
    for value in (False, True):
        for layer in layers:
            layer.trainable = value


def test_the_adapter_alone_trains_again(plain, trained):
    before = trained(plain)
    plain.enable_lora(2)
    adapter = trained(plain)
    plain.trainable = False
    assert not trained(plain)
    for _ in range(2):
        plain.trainable = True
        assert trained(plain) == adapter
    again(list(plain.transformer_layers))
    again(plain.layers)
    again(plain._flatten_layers())
    assert trained(plain) == adapter
    plain.unload_lora()
    again([plain])
    assert trained(plain) == before


def test_a_model_of_the_same_layers_freezes_and_thaws_them(plain, extended, trained):
    extended.trainable = False
    plain.enable_lora(2)  # on a frozen model
    expected = trained(plain) | {"head/kernel", "head/bias"}
    extended.trainable = True
    assert trained(extended) == expected
    again(extended.layers)
    assert trained(extended) == expected


@pytest.mark.keras(once=True)
def test_so_does_a_model_that_calls_the_backbone(plain, trained):
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in plain.input}
    outer = keras.Model(inputs, plain(inputs))
    plain.enable_lora(2)
    expected = trained(plain)
    again([outer])
    assert trained(outer) == expected


@pytest.mark.keras(once=True)
def test_co_trained_weights_train_again(plain, trained):
    plain.enable_lora(2, bias="lora", train=["pooled_dense"])
    expected = trained(plain)
    again([plain])
    assert trained(plain) == expected
    assert "pooled_dense/kernel" in expected


@pytest.mark.keras(once=True)
def test_a_layer_that_the_user_thaws_trains_with_the_adapter(plain, trained):
    plain.enable_lora(2)
    adapter = trained(plain)
    plain.get_layer("pooled_dense").trainable = True
    expected = adapter | {"pooled_dense/kernel", "pooled_dense/bias"}
    assert trained(plain) == expected
    again([plain, plain.get_layer("pooled_dense")])
    assert trained(plain) == expected
    plain.get_layer("pooled_dense").trainable = False
    assert trained(plain) == adapter


@pytest.mark.keras(once=True)
def test_inactive_and_other_adapters_thaw_nothing(plain, trained):
    plain.enable_lora(2, name="a")
    plain.enable_lora(2, name="b", bias="lora")
    plain.activate_lora("a")
    adapter = trained(plain)
    again([plain])
    assert trained(plain) == adapter
    plain.disable_lora()
    again([plain])
    assert not trained(plain)


def test_copies_freeze_and_thaw_as_the_original(plain, trained, tmp_path):
    plain.enable_lora(2)
    plain.save(tmp_path / "model.keras")
    for copied in (copy.deepcopy(plain), vertebra.load_model(tmp_path / "model.keras")):
        again([copied])
        assert len(trained(copied)) == len(trained(plain))


def test_fit_trains_the_adapter_alone_after_a_thaw(plain, extended, train, values):
    plain.enable_lora(2)
    before = values(plain)
    again([extended])
    train(plain)
    changed = {name for name, value in values(plain).items() if not np.array_equal(value, before[name])}
    assert changed
    assert all("/lora/" in name for name in changed)


def test_a_function_of_the_user_s_may_have_the_name_of_the_attribute(backbone):
    def trainable(layer, value):
        layer.trainable = value

    backbone.enable_lora(2)
    trained = len(backbone.trainable_variables)
    trainable(backbone.get_layer("pooled_dense"), True)
    assert len(backbone.trainable_variables) == trained + 2
