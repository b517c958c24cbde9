"""Code written for KerasHub, from the examples of its documentation, runs with only the import changed.

Built-in ids are read from small presets that KerasHub wrote; sizes of custom configs are smaller than in the examples.
"""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import vertebra as keras_hub
from vertebra import PresetHandle, hookimpl
from vertebra._discovery import catalog, plugins

pytestmark = pytest.mark.keras

GOLDEN = Path(__file__).parents[1] / "golden"
TOKENS = {
    "token_ids": np.ones(shape=(1, 12), dtype="int32"),
    "padding_mask": np.array([[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]]),
}
SEGMENTS = {"segment_ids": np.array([[0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0]])}
IDS = {"BertBackbone": "bert_base_en_uncased", "GPT2Backbone": "gpt2_base_en", "GemmaBackbone": "gemma_2b_en"}
each = pytest.mark.parametrize("name", IDS)


def rewrite(handle):
    """Returns the local preset for the handle of a built-in id, and None for local ones."""
    return (
        None if handle.scheme == "file" else PresetHandle("file", str(GOLDEN / handle.path.split("/")[1] / "kerashub"))
    )


@pytest.fixture(scope="module", autouse=True)
def local_presets():
    """A policy that reads built-in ids from the local folders."""
    keras_hub.add_plugin(
        SimpleNamespace(vertebra_rewrite_handle=hookimpl(rewrite, specname="vertebra_rewrite_handle")), "local presets"
    )
    yield
    plugins.registry.cache_clear()
    catalog.clear_catalog()


def inputs_of(name):
    return TOKENS | SEGMENTS if name == "BertBackbone" else TOKENS


def states(outputs):
    """Returns the hidden states as an array."""
    return keras.ops.convert_to_numpy(outputs["sequence_output"] if isinstance(outputs, dict) else outputs)


# === keras_hub.models.Backbone ===


def test_the_base_class_loads_any_architecture():
    bert = keras_hub.models.Backbone.from_preset("bert_base_en")
    assert isinstance(bert, keras_hub.models.BertBackbone)
    gpt2 = keras_hub.models.Backbone.from_preset("gpt2_base_en", dtype="bfloat16", trainable=False)
    assert isinstance(gpt2, keras_hub.models.GPT2Backbone)
    assert isinstance(gpt2, keras_hub.models.Backbone)
    assert (gpt2.dtype, gpt2.trainable_weights) == ("bfloat16", [])
    plain = keras_hub.models.Backbone.from_preset("bert_base_en", load_weights=False)
    assert not np.array_equal(*(model.token_embedding.embeddings.numpy() for model in (plain, bert)))


@each
def test_the_presets_of_a_class_are_listed_with_metadata(name):
    kind = getattr(keras_hub.models, name)
    assert IDS[name] in kind.presets
    for preset in kind.presets:
        assert kind.presets[preset]["metadata"]["description"]
        assert kind.presets[preset]["metadata"]["params"] > 10**6
        schemes = {name for name in ("kaggle", "hf") if f"{name}_handle" in kind.presets[preset]}
        assert "kaggle" in schemes or not kind.presets[preset].handle.startswith("kaggle://")
        assert all(kind.presets[preset][f"{name}_handle"].startswith(f"{name}://") for name in schemes)
    assert kind.presets.items() <= keras_hub.models.Backbone.presets.items()


# === keras_hub.models.BertBackbone, GPT2Backbone, GemmaBackbone ===


@each
def test_a_preset_is_called_with_a_dict(name):
    model = getattr(keras_hub.models, name).from_preset(IDS[name])
    outputs = states(model(inputs_of(name)))
    assert outputs.shape == (1, 12, model.hidden_dim)
    assert np.isfinite(outputs).all()


def test_a_custom_bert():
    model = keras_hub.models.BertBackbone(
        vocabulary_size=30552,
        num_layers=4,
        num_heads=4,
        hidden_dim=256,
        intermediate_dim=512,
        max_sequence_length=128,
    )
    outputs = model(TOKENS | SEGMENTS)
    assert {output: tensor.shape for output, tensor in outputs.items()} == {
        "sequence_output": (1, 12, 256),
        "pooled_output": (1, 256),
    }


def test_a_custom_gpt2():
    model = keras_hub.models.GPT2Backbone(
        vocabulary_size=5025,
        num_layers=2,
        num_heads=12,
        hidden_dim=96,
        intermediate_dim=384,
        max_sequence_length=1024,
    )
    assert tuple(model(TOKENS).shape) == (1, 12, 96)


def test_a_custom_gemma():
    model = keras_hub.models.GemmaBackbone(
        vocabulary_size=5025,
        num_layers=2,
        num_query_heads=12,
        num_key_value_heads=1,
        hidden_dim=96,
        intermediate_dim=384,
        head_dim=8,
    )
    assert tuple(model(TOKENS).shape) == (1, 12, 96)


# === LoRA ===


@each
def test_an_adapter_is_trained_saved_and_loaded(name, tmp_path):
    backbone = getattr(keras_hub.models, name).from_preset(IDS[name])
    backbone.enable_lora(rank=4)
    for variable in backbone.trainable_weights:
        variable.assign(variable.numpy() + 0.1)
    backbone.save_lora_weights(tmp_path / "model.lora.h5")
    expected = states(backbone(inputs_of(name)))

    fresh = getattr(keras_hub.models, name).from_preset(IDS[name])
    assert np.abs(states(fresh(inputs_of(name))) - expected).max() > 1e-3
    fresh.enable_lora(rank=4)
    fresh.load_lora_weights(tmp_path / "model.lora.h5")
    assert np.allclose(states(fresh(inputs_of(name))), expected, atol=1e-5)


# === Models of the user's own ===


@each
def test_a_model_is_extended_trained_and_saved_with_its_preset(name, tmp_path):
    backbone = keras_hub.models.Backbone.from_preset(IDS[name])
    outputs = backbone.output["pooled_output"] if name == "BertBackbone" else backbone.output[:, -1]
    model = keras.Model(backbone.inputs, keras.layers.Dense(2)(outputs))
    model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    model.fit(inputs_of(name), np.array([1]), epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert np.allclose(again.predict(inputs_of(name), verbose=0), model.predict(inputs_of(name), verbose=0), atol=1e-6)
    backbone.save_to_preset(tmp_path / "preset")
    loaded = keras_hub.models.Backbone.from_preset(tmp_path / "preset")
    assert np.array_equal(states(loaded(inputs_of(name))), states(backbone(inputs_of(name))))


def test_gemma_has_a_layout_for_several_devices(runtime):
    if runtime != "jax":
        pytest.skip("Keras distributes models on JAX only")
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), keras.distribution.list_devices()[:1])
    layout_map = keras_hub.models.GemmaBackbone.get_layout_map(mesh, model_parallel_dim_name="model")
    assert isinstance(layout_map, keras.distribution.LayoutMap)
    with keras.distribution.ModelParallel(layout_map=layout_map, batch_dim_name="batch").scope():
        model = keras_hub.models.GemmaBackbone.from_preset("gemma_2b_en")
    assert any(layout_map[variable.path] for variable in model.get_layer("decoder_block_1").weights)
