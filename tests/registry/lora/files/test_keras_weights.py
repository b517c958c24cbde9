"""Keras's weights files of adapted models: plain models load merged kernels, adapted models all values to the bit."""

import logging
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import h5py
import keras
import numpy as np
import pytest

import vertebra
from vertebra._discovery.catalog import STRATEGIES, catalog
from vertebra._lora.choices.call_lock import call_lock
from vertebra._lora.state import adapters_of
from vertebra.errors import LoraStateError

pytestmark = pytest.mark.keras

INSTALLED = sorted({entry.name for entry in catalog(STRATEGIES)} - {"trainable_tokens"})  # which needs an option
TARGETS = ["query", "mlp.up", "token_embedding"]


def arrays(model):
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.weights]


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
        variable.assign(variable + 1)  # the base kernels come from the file, too
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


@pytest.mark.parametrize("inner", [False, True])
def test_training_is_restored_from_a_backup(fresh, inputs, tmp_path, inner):
    def fit(epochs, stop):
        class Stop(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if stop and epoch == 1:
                    raise InterruptedError

        backbone = fresh(dropout=0.0, attention_dropout=0.0)
        backbone.enable_lora(2, seed=1)
        output = backbone(backbone.input) if inner else backbone.output
        model = keras.Model(backbone.input, output["pooled_output"])
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


def test_a_compiled_backbone_loads_its_weights_and_optimizer(fresh, run, inputs, tmp_path):
    def compiled(seed):
        backbone = fresh(dropout=0.0, attention_dropout=0.0)
        backbone.enable_lora(2, seed=seed)
        backbone.compile(keras.optimizers.Adam(0.1), {"pooled_output": "mse"})
        return backbone

    trained, other, path = compiled(1), compiled(2), tmp_path / "trained.weights.h5"
    trained.fit(inputs, {"pooled_output": np.zeros((3, 16))}, epochs=2, verbose=0)
    trained.save_weights(path)
    other.optimizer.build(other.trainable_variables)
    other.load_weights(path)
    assert gap(run(other), run(trained)) == 0
    assert int(other.optimizer.iterations) == int(trained.optimizer.iterations) > 0


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
    for seed, variable in enumerate(adapters_of(model).layers_of("default").flat()):
        variable.assign(np.random.default_rng(seed).normal(size=variable.shape) * 0.3)
    model.save_weights(tmp_path / "m.weights.h5")
    plain = build()
    plain.load_weights(tmp_path / "m.weights.h5")
    found, expected = (keras.ops.convert_to_numpy(each(x)) for each in (plain, model))
    assert np.abs(found - expected).max() <= 1e-5


# === Files of other adapters than the active ones ===


def without_records(path):
    """Converts a file to one of a version without records."""
    with h5py.File(path, "a") as file:
        found = []
        file.visit(lambda name: found.append(name) if name.endswith("/lora_record") else None)
        for name in found:
            del file[name]
    return bool(found)


@pytest.fixture
def saved(several, tmp_path):
    """Files of a backbone, by the active adapters when each was saved."""
    backbone, _ = several
    choices = {
        "none": {},
        "a": {"a": 1.0},
        "half": {"a": 0.5},
        "mix": {"a": 0.5, "c": 0.5},
        "xim": {"c": 0.5, "a": 0.5},
    }
    for name, choice in choices.items():
        backbone.activate_lora(choice)
        backbone.save_weights(tmp_path / f"{name}.weights.h5")
    return {name: (tmp_path / f"{name}.weights.h5", choice) for name, choice in choices.items()}


OTHERS = [("a", "none"), ("none", "a"), ("mix", "a"), ("a", "mix"), ("mix", "none"), ("half", "a"), ("mix", "xim")]


@pytest.mark.parametrize("record", [True, False])
def test_a_file_of_adapters_that_do_not_act_is_refused_and_nothing_changes(several, saved, run, record):
    backbone, outputs = several
    for number, (name, active) in enumerate(OTHERS if record else OTHERS[:-2]):
        path, choice = saved[active]
        backbone.activate_lora(choice)
        weights = arrays(backbone)
        backbone.weights[-1].assign(backbone.weights[-1] + 1)  # not adapted, and different from the file
        changed = arrays(backbone)[-1]
        path = path.with_name(f"{number}.weights.h5")
        shutil.copy(saved[name][0], path)
        assert record or name == "none" or without_records(path)
        for skip in (False, True)[: 1 if name == "none" else 2]:
            with pytest.raises(LoraStateError, match="active on layer"):
                backbone.load_weights(path, skip_mismatch=skip)
        found = arrays(backbone)
        assert all(map(np.array_equal, found[:-1], weights[:-1]))
        assert np.array_equal(found[-1], changed)
        backbone.weights[-1].assign(weights[-1])
    backbone.activate_lora("a")
    assert gap(run(backbone), outputs["a"]) == 0


@pytest.mark.parametrize("record", [True, False])
def test_a_file_of_the_adapters_that_act_is_loaded_to_the_bit(several, saved, fresh, run, record):
    backbone, outputs = several
    for name in ("a", "mix", "none"):
        path, choice = saved[name]
        assert record or name == "none" or without_records(path)
        backbone.activate_lora(choice)
        expected = run(backbone)
        for variable in backbone.weights:
            variable.assign(variable + 1)
        backbone.load_weights(path)
        assert gap(run(backbone), expected) == 0
        backbone.disable_lora()
        assert gap(run(backbone), outputs[None]) == 0
    plain = fresh()
    plain.load_weights(saved["a"][0])
    assert gap(run(plain), outputs["a"]) <= 1e-5


def test_another_alpha_is_refused_and_another_dropout_is_not(fresh, tmp_path):
    trained = fresh()
    trained.enable_lora(2, alpha=8)
    trained.save_weights(tmp_path / "trained.weights.h5")
    other = fresh()
    other.enable_lora(2, alpha=2)
    with pytest.raises(LoraStateError, match=r"scale 4 .* scale 1 "):
        other.load_weights(tmp_path / "trained.weights.h5")
    other.unload_lora()
    other.enable_lora(2, alpha=8, dropout=0.5)
    other.load_weights(tmp_path / "trained.weights.h5")


def test_the_layers_of_any_other_model_refuse_it_too(tmp_path):
    def build(alpha):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="hidden", bias_initializer="ones")])
        vertebra.lora.enable(model, 2, ["hidden"], alpha=alpha)
        adapters_of(model).layers_of("default").layers["hidden"].b.assign(np.ones((2, 4)))
        return model

    trained, other = build(8), build(2)
    trained.save_weights(tmp_path / "trained.weights.h5")
    values = arrays(other)
    with pytest.raises(ValueError, match="active on layer 'hidden'"):
        other.load_weights(tmp_path / "trained.weights.h5")
    with pytest.warns(UserWarning, match="active on layer 'hidden'"):
        other.load_weights(tmp_path / "trained.weights.h5", skip_mismatch=True)
    assert all(map(np.array_equal, values, arrays(other)))
    vertebra.lora.disable(other)
    with pytest.raises(ValueError, match="has no adapter active"):
        other.load_weights(tmp_path / "trained.weights.h5")


def test_files_in_shards_have_records_too(several, fresh, run, tmp_path):
    backbone, outputs = several
    backbone.activate_lora("a")
    backbone.save_weights(tmp_path / "sharded.weights.json", max_shard_size=1e-5)
    assert len(list(tmp_path.glob("*.h5"))) > 1
    backbone.load_weights(tmp_path / "sharded.weights.json")
    assert gap(run(backbone), outputs["a"]) == 0
    backbone.disable_lora()
    with pytest.raises(LoraStateError, match="has no adapter active"):
        backbone.load_weights(tmp_path / "sharded.weights.json")
    plain = fresh()
    plain.load_weights(tmp_path / "sharded.weights.json")
    assert gap(run(plain), outputs["a"]) <= 1e-5


# === Tied tables ===


def test_a_table_whose_logits_change_in_a_plain_model_is_named_once(toy_class, fill, tmp_path, caplog):
    model = toy_class()
    model.enable_lora(2, ["token_embedding", "dense"])
    fill(model)
    model.save_lora_weights(tmp_path / "peft")
    model.save_weights(tmp_path / "own.weights.h5")
    model.unload_lora()
    model.load_lora_weights(tmp_path / "peft")
    caplog.clear()
    with caplog.at_level(logging.WARNING, "vertebra"):
        model.save_weights(tmp_path / "theirs.weights.h5")
    assert [record.message.count("token_embedding") for record in caplog.records] == [1]
    caplog.clear()
    model.disable_lora()
    with caplog.at_level(logging.WARNING, "vertebra"):
        model.save_weights(tmp_path / "base.weights.h5")
    assert caplog.text == ""


# === While other threads change the adapters ===


@pytest.mark.parametrize("verb", ["save_weights", "save"])
def test_a_file_holds_one_state_of_the_adapters(several, fresh, run, tmp_path, verb, monkeypatch):
    backbone, outputs = several
    backbone.activate_lora("a")
    layer = adapters_of(backbone).layers_of("a").layers["transformer_layer_0/self_attention/value"].view.layer
    path, saved = tmp_path / {"save": "m.keras", "save_weights": "m.weights.h5"}[verb], layer.save_own_variables
    with ThreadPoolExecutor(1) as pool:
        changes = []

        def save_later(store):
            changes.append(pool.submit(backbone.activate_lora, "b"))
            while not (call_lock(backbone)._waiting or changes[0].done()):
                pass
            saved(store)

        monkeypatch.setattr(layer, "save_own_variables", save_later)
        getattr(backbone, verb)(path)
        changes[0].result(60)
    plain = fresh() if verb == "save_weights" else vertebra.load_model(path)
    if verb == "save_weights":
        plain.load_weights(path)
    assert gap(run(plain), outputs["a"]) <= 1e-5
    assert gap(run(backbone), outputs["b"]) == 0


@pytest.mark.parametrize("verb", ["load_weights", "set_weights"])
def test_loading_waits_for_calls(several, saved, verb):
    backbone, _ = several
    backbone.disable_lora()
    given = {"load_weights": saved["none"][0], "set_weights": backbone.get_weights()}[verb]
    with ThreadPoolExecutor(1) as pool:
        with call_lock(backbone).calling():
            loading = pool.submit(getattr(backbone, verb), given)
            while not (call_lock(backbone)._waiting or loading.done()):
                pass
            assert not loading.done()
        loading.result(60)


def test_saving_a_preset_holds_up_no_calls_and_fetching_its_assets_no_changes(several, inputs, tmp_path, monkeypatch):
    from vertebra._presets import save

    backbone, _ = several
    events, choose, write = [], save._select_assets, save.formats()["native"].write

    def start(function, *args):
        thread = threading.Thread(target=function, args=args, daemon=True)  # so that a deadlock fails only this test
        thread.start()
        return thread

    def fetch(*args):
        change = start(backbone.activate_lora, "a")
        change.join(20)
        events.append(change.is_alive())
        return choose(*args)

    def write_slowly(*args):
        change = start(backbone.activate_lora, "b")
        while not call_lock(backbone)._waiting:
            pass
        call = start(backbone, inputs)
        call.join(20)
        events.extend([call.is_alive(), change])
        return write(*args)

    monkeypatch.setattr(save, "_select_assets", fetch)
    monkeypatch.setattr(save.formats()["native"], "write", write_slowly)
    backbone.save_to_preset(tmp_path / "preset", certificate=False)
    assert events[:2] == [False, False]
    events[2].join(60)
    assert next(iter(backbone.lora_adapters)) == "b"
    assert list(vertebra.Backbone.from_preset(tmp_path / "preset").lora_adapters) == ["a"]


def test_quantizing_looks_for_adapters_once_no_other_thread_changes_them(fresh, monkeypatch):
    backbone = fresh()
    lock = call_lock(backbone)
    change = lock.changing

    def change_later():
        monkeypatch.setattr(lock, "changing", change)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(backbone.enable_lora, 2).result(60)
        return change()

    monkeypatch.setattr(lock, "changing", change_later)
    with pytest.raises(LoraStateError, match="has LoRA adapters"):
        backbone.quantize("int8")
