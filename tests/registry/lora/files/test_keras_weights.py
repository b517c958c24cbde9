"""Keras's weights files of adapted models: a plain model computes what was trained, an adapted one all to the bit."""

import keras
import numpy as np
import pytest

import vertebra
from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._lora.state import adapters_of

pytestmark = pytest.mark.keras

INSTALLED = sorted(entry.name for entry in catalog(STRATEGIES))
TARGETS = ["query", "mlp.up", "token_embedding"]


def gap(found, expected):
    return max(np.abs(found[key] - expected[key]).max() for key in expected)


@pytest.fixture
def fresh(golden):
    return lambda **arguments: vertebra.Backbone.from_preset(golden / "transformers", **arguments)


@pytest.mark.parametrize("strategy", INSTALLED)
def test_a_plain_backbone_computes_what_was_trained(fresh, run, randomise, tmp_path, strategy):
    trained = fresh()
    trained.enable_lora(4, TARGETS, strategy=strategy, bias="lora")
    randomise(trained, "default", 1)
    trained.save_weights(tmp_path / "trained.weights.h5")
    plain = fresh()
    plain.load_weights(tmp_path / "trained.weights.h5")
    assert gap(run(plain), run(trained)) <= 1e-5
    assert gap(run(plain), run(fresh())) > 1e-2


def test_several_that_act_are_merged_as_strongly_as_they_act(several, run, fresh, tmp_path):
    backbone, _ = several
    backbone.activate_lora({"a": 0.5, "c": -0.25})
    backbone.save_weights(tmp_path / "mixed.weights.h5")
    plain = fresh()
    plain.load_weights(tmp_path / "mixed.weights.h5")
    assert gap(run(plain), run(backbone)) <= 1e-5


def test_an_adapted_backbone_goes_on_to_the_bit(fresh, run, randomise, tmp_path):
    trained = fresh()
    trained.enable_lora(4, TARGETS)
    randomise(trained, "default", 1)
    trained.save_weights(tmp_path / "trained.weights.h5")
    again = fresh()
    for variable in again.weights:
        variable.assign(variable + 1)  # also the kernels of the base come from the file
    again.enable_lora(4, TARGETS)
    again.load_weights(tmp_path / "trained.weights.h5")
    assert gap(run(again), run(trained)) == 0
    again.unload_lora()
    trained.unload_lora()
    assert gap(run(again), run(trained)) == 0


def test_a_checkpoint_of_a_model_around_the_layers_holds_the_adapter(fresh, run, inputs, randomise, tmp_path):
    backbone = fresh()
    backbone.enable_lora(2)
    randomise(backbone, "default", 1)
    model = keras.Model(backbone.input, backbone.output["pooled_output"])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    path = tmp_path / "model.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    model.fit(inputs, np.zeros((3, 16)), epochs=2, verbose=0, callbacks=[checkpoint])
    plain = fresh()
    other = keras.Model(plain.input, plain.output["pooled_output"])
    other.load_weights(path)
    trained = keras.ops.convert_to_numpy(model(inputs, training=False))
    assert np.abs(keras.ops.convert_to_numpy(other(inputs, training=False)) - trained).max() <= 1e-5
    assert np.abs(run(fresh())["pooled_output"] - trained).max() > 1e-3


def test_training_is_restored_from_a_backup(fresh, inputs, tmp_path):
    def fit(epochs, stop):
        class Stop(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if stop and epoch == 1:
                    raise InterruptedError

        backbone = fresh(dropout=0.0, attention_dropout=0.0)
        backbone.enable_lora(2, seed=1)
        model = keras.Model(backbone.input, backbone.output["pooled_output"])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
        try:
            model.fit(inputs, np.zeros((3, 16)), epochs=epochs, verbose=0, callbacks=[backup, Stop()], shuffle=False)
        except InterruptedError:
            return None
        return keras.ops.convert_to_numpy(model(inputs, training=False))

    fit(4, stop=True)
    resumed = fit(4, stop=False)
    (tmp_path / "backup").rename(tmp_path / "old")
    assert np.abs(resumed - fit(4, stop=False)).max() <= 1e-5


def test_a_keras_file_of_a_backbone_with_an_adapter_opens_as_it_was(fresh, run, randomise, tmp_path):
    trained = fresh()
    trained.enable_lora(4, TARGETS)
    randomise(trained, "default", 1)
    trained.save(tmp_path / "model.keras")
    again = vertebra.load_model(tmp_path / "model.keras")
    assert list(again.lora_adapters) == ["default"]
    assert gap(run(again), run(trained)) == 0
    again.unload_lora()
    assert gap(run(again), run(fresh())) == 0


def test_disabled_adapters_are_in_no_file(several, run, fresh, tmp_path):
    backbone, outputs = several
    backbone.disable_lora()
    backbone.save_weights(tmp_path / "base.weights.h5")
    plain = fresh()
    plain.load_weights(tmp_path / "base.weights.h5")
    assert gap(run(plain), outputs[None]) == 0


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_a_quantised_layer_without_the_adapter_refuses_the_file(fresh, run, randomise, tmp_path, monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # Keras collects once for each layer

    def quantized():
        backbone = fresh()
        backbone.quantize("int8")
        return backbone

    trained = quantized()
    trained.enable_lora(4)
    randomise(trained, "default", 1)
    trained.save_weights(tmp_path / "trained.weights.h5")
    with pytest.raises(ValueError, match="could not be loaded"):
        quantized().load_weights(tmp_path / "trained.weights.h5")
    again = quantized()
    again.enable_lora(4)
    again.load_weights(tmp_path / "trained.weights.h5")
    assert gap(run(again), run(trained)) == 0


def test_a_convolution_is_merged_in_the_file(tmp_path):
    def build():
        keras.utils.set_random_seed(3)
        inputs = keras.Input((6, 6, 3))
        hidden = keras.layers.Conv2D(4, 3, name="stem", activation="relu")(inputs)
        return keras.Model(inputs, keras.layers.EinsumDense("abcd,de->abce", (4, 4, 5), name="out")(hidden))

    model, x = build(), np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    vertebra.lora.enable(model, 2, ["stem", "out"])
    for seed, variable in enumerate(adapters_of(model).parts_of("default").flat()):
        variable.assign(np.random.default_rng(seed).normal(size=variable.shape) * 0.3)
    model.save_weights(tmp_path / "m.weights.h5")
    plain = build()
    plain.load_weights(tmp_path / "m.weights.h5")
    found, expected = (keras.ops.convert_to_numpy(each(x)) for each in (plain, model))
    assert np.abs(found - expected).max() <= 1e-5
