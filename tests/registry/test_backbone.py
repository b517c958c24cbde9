"""`Backbone` behaves as users of Keras expect of a model, and users of KerasHub of a backbone."""

import json
import pickle

import keras
import numpy as np
import pytest

import vertebra
from vertebra.errors import LoraStateError, PresetClassError, PresetConfigError

FRESH = """
import json, sys
import keras
import numpy as np
import vertebra

model = vertebra.load_model(sys.argv[1], compile=False)
outputs = model(dict(np.load(sys.argv[2])), training=False)
print(json.dumps(keras.ops.convert_to_numpy(outputs).tolist()))
"""
pytestmark = pytest.mark.keras


@pytest.fixture
def make(arguments):
    """Builds a tiny BERT from arguments that may be overridden."""
    return lambda **overrides: vertebra.models.BertBackbone(**arguments | overrides)


# === A functional model, built when it is constructed ===


def test_a_backbone_is_a_functional_model_that_is_built(make):
    backbone = make()
    assert isinstance(backbone, vertebra.Backbone)
    assert isinstance(backbone, keras.Model)
    assert backbone.built
    assert set(backbone.input) == {"token_ids", "segment_ids", "padding_mask"}
    assert set(backbone.output) == {"sequence_output", "pooled_output"}
    assert all(variable.numpy().dtype == "float32" for variable in backbone.weights)


def test_the_base_class_is_the_parent_of_every_backbone_class():
    assert issubclass(vertebra.models.BertBackbone, vertebra.Backbone)
    assert vertebra.models.BertBackbone is type(vertebra.models.BertBackbone(10, 1, 1, 4, 8))


def test_parameters_are_counted_and_the_summary_names_the_layers(make):
    lines = []
    make().summary(print_fn=lambda line, **_: lines.append(line))
    assert make().count_params() == 6656  # the total_parameters of the checkpoint that transformers wrote
    assert "transformer_layer_1" in "\n".join(lines)


def test_token_embedding_is_the_layer_that_embeds_tokens(backbone):
    assert isinstance(backbone.token_embedding, keras.layers.Embedding)
    rows = keras.ops.convert_to_numpy(backbone.token_embedding(np.array([[5]])))[0]
    assert np.array_equal(rows, backbone.token_embedding.embeddings.numpy()[[5]])


def test_a_class_lists_its_own_presets_and_the_base_class_those_of_all():
    presets = vertebra.models.BertBackbone.presets
    assert presets["bert_base_en"].handle.startswith("kaggle://")
    assert all(name == preset.name for name, preset in presets.items())
    assert vertebra.Backbone.presets.items() >= presets.items()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "mixed_bfloat16"])
def test_computes_and_stores_in_the_dtype_that_was_asked_for(golden, run, dtype, io):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", dtype=dtype)
    policy = keras.dtype_policies.get(dtype)
    assert {variable.dtype for variable in backbone.weights} == {policy.variable_dtype}
    outputs = run(backbone)
    assert {str(array.dtype) for array in outputs.values()} == {policy.compute_dtype}
    gap = np.abs(outputs["pooled_output"].astype("float32") - io["transformers/pooled_output"]).max()
    assert gap <= (1e-5 if dtype == "float32" else 0.08)


# === from_preset ===


def test_the_class_is_inferred_from_the_base_class_and_accepted_from_its_own(golden):
    for start in (vertebra.Backbone, vertebra.models.BertBackbone):
        assert type(start.from_preset(golden / "transformers")) is vertebra.models.BertBackbone


def test_a_preset_of_another_class_is_refused_with_both_names(golden):
    class GPTBackbone(vertebra.Backbone):
        pass

    with pytest.raises(PresetClassError) as caught:
        GPTBackbone.from_preset(golden / "transformers")
    assert (caught.value.actual, caught.value.wanted) == ("BertBackbone", "GPTBackbone")


@pytest.mark.parametrize(
    ("name", "value"), [("trainable", False), ("name", "encoder"), ("dropout", 0.5), ("dtype", "bfloat16")]
)
def test_an_argument_of_the_constructor_overrides_the_preset(golden, name, value):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", **{name: value})
    found = backbone.dtype_policy.name if name == "dtype" else getattr(backbone, name)
    assert found == value
    plain = vertebra.Backbone.from_preset(golden / "transformers")
    assert (plain.dtype_policy.name if name == "dtype" else getattr(plain, name)) != value


def test_an_overridden_dropout_is_the_one_that_drops(golden, inputs):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", dropout=0.5, attention_dropout=0.0)
    embedded = keras.Model(backbone.input, backbone.get_layer("embeddings_dropout").output)
    dropped = keras.ops.convert_to_numpy(embedded(inputs, training=True)) == 0
    assert 0.35 < dropped.mean() < 0.65


def test_the_runtime_may_be_named_and_another_one_is_refused(golden, runtime):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", runtime=runtime)
    assert keras.config.backend() == runtime
    assert backbone.built
    other = {"torch": "jax", "jax": "torch"}[runtime]
    with pytest.raises(vertebra.errors.RuntimeBoundError) as caught:
        vertebra.Backbone.from_preset(golden / "transformers", runtime=other)
    assert (caught.value.wanted, caught.value.bound) == (other, runtime)


def test_without_weights_the_backbone_is_that_of_the_preset_with_random_values(golden, backbone, values):
    fresh = vertebra.Backbone.from_preset(golden / "transformers", load_weights=False)
    assert fresh.get_config() | {"name": ""} == backbone.get_config() | {"name": ""}
    loaded, random = values(backbone), values(fresh)
    assert loaded.keys() == random.keys()
    kernels = [name for name in loaded if name.endswith(("kernel", "embeddings"))]
    assert not any(np.array_equal(loaded[name], random[name]) for name in kernels)


def test_trainable_false_freezes_every_weight(golden, values, train):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", trainable=False)
    assert backbone.trainable_weights == []
    before = values(backbone)
    train(backbone, extra=keras.layers.Dense(1))
    after = values(backbone)
    assert all(np.array_equal(before[name], after[name]) for name in before)


# === Configuration ===


def test_from_config_builds_what_get_config_describes(make):
    backbone = make(dropout=0.25, activation="relu", dtype="mixed_bfloat16", trainable=False, name="other")
    config = json.loads(json.dumps(backbone.get_config()))  # plain data
    again = type(backbone).from_config(config)
    assert again.get_config() == backbone.get_config()
    assert (again.name, again.trainable, again.dtype_policy.name) == ("other", False, "mixed_bfloat16")


def test_from_config_does_not_change_what_it_is_given(backbone):
    backbone.enable_lora(2)
    config = backbone.get_config()
    kept = json.dumps(config)
    type(backbone).from_config(config)
    assert json.dumps(config) == kept


# === As any Keras model: extend, wrap, train, save ===


@pytest.fixture
def wrap(inputs):
    """Wraps a backbone as one layer of a classifier, as a task does."""

    def build(backbone):
        symbolic = {name: keras.Input((None,), dtype="int32", name=name) for name in inputs}
        return keras.Model(symbolic, keras.layers.Dense(3, name="logits")(backbone(symbolic)["pooled_output"]))

    return build


@pytest.fixture
def save_and_load(tmp_path):
    """Saves a model as `.keras` and loads it back."""

    def both(model):
        model.save(tmp_path / "model.keras")
        return vertebra.load_model(tmp_path / "model.keras")

    return both


def test_extends_as_a_functional_model_that_fits_and_saves(backbone, run, inputs, save_and_load):
    model = keras.Model(backbone.inputs, keras.layers.Dense(2)(backbone.output["sequence_output"]))
    model.compile("sgd", "mse")
    before = run(model)
    model.fit(inputs, np.zeros((3, 9, 2)), verbose=0)
    after = run(model)
    assert not np.array_equal(before, after)
    assert np.array_equal(run(save_and_load(model)), after)


def test_wrapped_in_a_task_it_saves_and_loads(backbone, run, wrap, save_and_load):
    task = wrap(backbone)
    again = save_and_load(task)
    assert np.array_equal(run(again), run(task))
    assert isinstance(again.get_layer(backbone.name), vertebra.Backbone)


@pytest.mark.parametrize("when", ["before wrapping", "after wrapping"])
def test_wrapped_with_an_adapter_it_trains_saves_and_loads(golden, inputs, run, wrap, save_and_load, when):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", dropout=0.0, attention_dropout=0.0)
    if when == "before wrapping":
        backbone.enable_lora(2)
    task = wrap(backbone)
    if when == "after wrapping":
        backbone.enable_lora(2)
    task.compile(keras.optimizers.SGD(0.1), "mse")
    before = run(backbone)["pooled_output"]
    task.fit(inputs, np.zeros((3, 3)), epochs=2, verbose=0)
    assert not np.array_equal(run(backbone)["pooled_output"], before)
    again = save_and_load(task)
    assert np.array_equal(run(again), run(task))
    assert [v.path for v in again.trainable_weights] == [v.path for v in task.trainable_weights]
    assert len(again.trainable_weights) == 2 * 2 * 2 + 2  # a and b of two layers' query and value, and the head


def test_a_copy_layer_by_layer_never_loses_an_adapter_silently(backbone):
    backbone.enable_lora(2)
    with pytest.raises(LoraStateError, match="a config or a clone cannot keep"):
        keras.models.clone_model(backbone)
    with pytest.raises(LoraStateError, match="a config or a clone cannot keep"):
        keras.Model(backbone.inputs, backbone.output["pooled_output"]).get_config()


@pytest.mark.parametrize("targets", [None, ["all-linear"], ["token_embedding", "pooled_dense"]], ids=str)
def test_a_functional_extension_is_saved_with_the_adapter_merged(golden, inputs, run, child, tmp_path, caplog, targets):
    backbone = vertebra.Backbone.from_preset(golden / "transformers", dropout=0.0, attention_dropout=0.0)
    backbone.enable_lora(2, targets, seed=0)
    task = keras.Model(backbone.inputs, keras.layers.Dense(2, name="head")(backbone.output["pooled_output"]))
    task.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    callback = keras.callbacks.ModelCheckpoint(tmp_path / "task.keras", monitor="loss", save_best_only=True)
    task.fit(inputs, np.ones((3, 2)), epochs=2, verbose=0, callbacks=[callback])
    assert [record.message for record in caplog.records if "merged into the kernels" in record.message] != []
    expected = run(task)
    assert not np.allclose(run(pickle.loads(pickle.dumps(task))), 0)
    again = vertebra.load_model(tmp_path / "task.keras", compile=False)
    assert np.abs(run(again) - expected).max() <= 1e-6
    assert vertebra.lora.adapters(again) == {}
    np.savez(tmp_path / "inputs.npz", **inputs)
    found = child(FRESH, tmp_path / "task.keras", tmp_path / "inputs.npz")
    assert np.abs(np.array(json.loads(found)) - expected).max() <= 1e-6
    assert list(vertebra.lora.adapters(backbone)) == ["default"]


def test_a_functional_extension_of_quantised_layers_is_not_saved(backbone, tmp_path):
    backbone.quantize("int8", filters=lambda layer: isinstance(layer, keras.layers.Dense))
    backbone.enable_lora(2)
    flat = keras.Model(backbone.inputs, keras.layers.Dense(2)(backbone.output["pooled_output"]))
    with pytest.raises(LoraStateError, match=r"neither can a \.keras file if the layers are quantised"):
        flat.save(tmp_path / "flat.keras")


@pytest.mark.parametrize(("name", "value"), [("dropuot", 0.5), ("dropout", "much"), ("num_layers", 2.5)])
def test_an_override_that_the_constructor_does_not_take_is_refused(golden, name, value):
    with pytest.raises(PresetConfigError) as caught:
        vertebra.Backbone.from_preset(golden / "transformers", **{name: value})
    assert name in caught.value.problem
    assert caught.value.subject == "from_preset of BertBackbone"


def test_the_base_class_has_no_layers_of_its_own():
    with pytest.raises(
        TypeError, match=r"Backbone needs inputs and outputs.*; call from_preset\(\.\.\.\), or a class of"
    ):
        vertebra.Backbone()


def test_a_misspelled_argument_is_an_error_that_names_the_nearest(arguments):
    with pytest.raises(TypeError, match="BertBackbone has no argument 'max_seq_length'; did you mean 'max_sequence_le"):
        vertebra.models.BertBackbone(**arguments | {"max_seq_length": 3})


def test_a_handle_is_no_place_to_save_to(backbone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(vertebra.errors.PresetSaveError, match="it is a handle"):
        backbone.save_to_preset("hf://acme/bert")
    assert not list(tmp_path.iterdir())
