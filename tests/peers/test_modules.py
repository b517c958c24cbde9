"""Architectures whose modules in transformers 5 have other names than the tensors of their checkpoints: ViT."""

import json

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vertebra
from vertebra.errors import AdapterMismatchError

pytestmark = pytest.mark.keras

CONFIG = {"model_type": "vit", "image_size": 8, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 2}
CONFIG |= {"num_attention_heads": 2, "intermediate_size": 24}
PIXELS = np.random.default_rng(0).random((3, 8, 8, 3), "float32")
MODULES = {
    "query": "q_proj",
    "value": "v_proj",
    "attention_output": "o_proj",
    "block_*_up": "fc1",
    "block_*_down": "fc2",
}


@pytest.fixture
def peer(transformers_peer):
    """Calls a function with the images in transformers' order of axes; returns its result."""
    pixels = {"pixels": PIXELS.transpose(0, 3, 1, 2).tolist()}
    return lambda function, **arguments: transformers_peer(function, inputs=pixels, **arguments)


@pytest.fixture
def created(documented_vit, peer, folder):
    """Makes a checkpoint of a class of transformers; returns the outputs of its base model."""

    def make(model="ViTModel"):
        return np.array(peer("create", folder=str(folder), model=model, config=CONFIG)["outputs"]["sequence_output"])

    return make


def run(backbone):
    return keras.ops.convert_to_numpy(backbone(PIXELS))


@pytest.mark.parametrize("model", ["ViTModel", "ViTForImageClassification"])
def test_a_checkpoint_is_exchanged(created, peer, folder, tmp_path, model):
    expected = created(model)
    backbone = vertebra.Backbone.from_preset(folder)
    np.testing.assert_allclose(run(backbone), expected, atol=1e-5)
    backbone.save_to_preset(tmp_path / "saved", format="transformers")
    loaded = peer("load", folder=str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded["outputs"]["sequence_output"], expected, atol=1e-5)
    assert loaded["report"]["unexpected_keys"] == loaded["report"]["mismatched_keys"] == []


@pytest.mark.parametrize("settings", [{}, {"bias": "lora"}, {"train": ["norm"]}, {"rank_pattern": {"block_1_up": 1}}])
def test_peft_loads_what_is_written(created, peer, folder, tmp_path, settings):
    created()
    backbone = vertebra.Backbone.from_preset(folder)
    backbone.enable_lora(2, list(MODULES), seed=0, **settings)
    draws = np.random.default_rng(0)
    for variable in backbone.trainable_weights:
        variable.assign(variable.numpy() + 0.2 * draws.standard_normal(variable.shape))
    backbone.save_lora_weights(tmp_path / "adapter")
    modules = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["target_modules"]
    assert {module.rpartition(".")[2] for module in modules} == set(MODULES.values())
    loaded = peer("adapt", folder=str(folder), adapter=str(tmp_path / "adapter"))
    assert loaded["complaints"] == []
    np.testing.assert_allclose(loaded["outputs"]["sequence_output"], run(backbone), atol=1e-5)


@pytest.mark.parametrize("naming", ["of modules", "of tensors", "under a prefix"])
def test_what_peft_wrote_is_loaded_in_either_naming(created, peer, folder, tmp_path, naming):
    created()
    adapter, config = tmp_path / "adapter", {"r": 2, "target_modules": list(MODULES.values()), "bias": "all"}
    expected = peer("make_adapter", folder=str(folder), adapter=str(adapter), config=config)
    if naming != "of modules":
        renamed = {_renamed(name, naming): array for name, array in _tensors(adapter).items()}
        save_file(renamed, adapter / "adapter_model.safetensors")
    backbone = vertebra.Backbone.from_preset(folder)
    with pytest.raises(AdapterMismatchError, match="pooler"):  # whose bias PEFT trains, too
        backbone.load_lora_weights(adapter)
    receipt = backbone.load_lora_weights(adapter, strict=False)
    assert (len(receipt.layers), len(receipt.unused)) == (10, 1)
    np.testing.assert_allclose(run(backbone), expected["outputs"]["sequence_output"], atol=1e-5)


def _tensors(adapter):
    return load_file(adapter / "adapter_model.safetensors")


def _renamed(name, naming):
    """Returns the name of a tensor before transformers 5, or in a model with a head."""
    if naming == "under a prefix":
        return name.replace("base_model.model.", "base_model.model.vit.")
    for old, new in {
        "attention.attention.query": "attention.q_proj",
        "attention.attention.key": "attention.k_proj",
        "attention.attention.value": "attention.v_proj",
        "attention.output.dense": "attention.o_proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }.items():
        name = name.replace(f".{new}.", f".{old}.")
    return name.replace(".layers.", ".encoder.layer.")
