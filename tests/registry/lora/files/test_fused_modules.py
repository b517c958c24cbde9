"""Fused projections: GPT-2's query, key and value are one module in PEFT."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.keras

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PARTS = ("query", "key", "value")


@pytest.fixture
def gpt2(reference):
    return reference("gpt2")


def attention(layer):
    return f"transformer_layer_{layer}/self_attention"


def written(folder):
    """Returns a folder's config, and its tensors of the first layer, by their names after the module's name."""
    tensors, start = load_file(folder / TENSORS), "base_model.model.h.0.attn.c_attn."
    own = {name.removeprefix(start): array for name, array in tensors.items() if name.startswith(start)}
    return json.loads((folder / CONFIG).read_text()), own


def test_a_fused_module_is_three_layers_that_share_the_side_of_the_inputs(gpt2, adapters, run):
    backbone = gpt2.load()
    receipt = backbone.load_lora_weights(gpt2.folder / "peft_lora")
    assert receipt.parameters_added == receipt.parameters_trained == 2 * 4 * (16 + 48)  # as many parameters as in PEFT
    assert len(receipt.layers) == 6
    layers = adapters(backbone)
    query, key, value = (layers[f"{attention(0)}/{name}"] for name in PARTS)
    assert query.a is key.a is value.a
    assert query.a is not layers[f"{attention(1)}/query"].a
    assert len({id(layer.b) for layer in layers.values()}) == 6


def test_what_is_shared_goes_on_being_shared(gpt2, adapters, tmp_path):
    """After further training and a round trip through the short form, PEFT can still represent a fused module."""
    first, second = gpt2.load(), gpt2.load()
    first.load_lora_weights(gpt2.folder / "peft_lora")
    for variable in first.trainable_weights:
        variable.assign(variable.numpy() * 1.5)
    first.save_lora_weights(tmp_path / "adapter.safetensors")
    second.load_lora_weights(tmp_path / "adapter.safetensors")
    assert adapters(second)[f"{attention(1)}/key"].a is adapters(second)[f"{attention(1)}/query"].a
    assert np.array_equal(gpt2.outputs(second), gpt2.outputs(first))
    second.save_lora_weights(tmp_path / "adapter")
    config, tensors = written(tmp_path / "adapter")
    theirs = load_file(gpt2.folder / "peft_lora" / TENSORS)
    assert config["r"] == 4
    assert config["fan_in_fan_out"]
    assert np.array_equal(tensors["lora_A.weight"], theirs["base_model.model.h.0.attn.c_attn.lora_A.weight"] * 1.5)


@pytest.mark.parametrize(
    ("targets", "settings", "rank"),
    [
        (["query", "value"], {}, 4),
        (["key"], {"alpha": 3}, 2),
        (list(PARTS), {"alpha": 3}, 6),
        (["query", "value"], {"alpha": 3, "rank_pattern": {"value": 5}, "alpha_pattern": {"query": 7}}, 7),
        (["query", "value"], {"strategy": "rslora", "alpha": 3, "rank_pattern": {"value": 5}}, 7),
        (["query", "mlp"], {"alpha": 3}, 2),
        (list(PARTS), {"strategy": "dora", "alpha": 3}, 6),
        (["query", "value"], {"strategy": "dora", "alpha": 3}, 4),  # the key's lengths are those of its columns
    ],
    ids=str,
)
def test_layers_with_ranks_of_their_own_stand_side_by_side(gpt2, fill, tmp_path, targets, settings, rank):
    first, second = gpt2.load(), gpt2.load()
    before = gpt2.outputs(first)
    first.enable_lora(2, targets, **settings)
    fill(first)
    first.save_lora_weights(tmp_path / "adapter")
    config, tensors = written(tmp_path / "adapter")
    assert config["rank_pattern"].get("^h.0.attn.c_attn", config["r"]) == rank
    assert (tensors["lora_A.weight"].shape, tensors["lora_B.weight"].shape) == ((rank, 16), (48, rank))
    for column, name in enumerate(PARTS):
        assert tensors["lora_B.weight"][16 * column : 16 * (column + 1)].any() == (name in targets)
    second.load_lora_weights(tmp_path / "adapter")
    assert np.abs(gpt2.outputs(second) - gpt2.outputs(first)).max() <= 1e-6
    assert np.abs(gpt2.outputs(first) - before).max() > 0.01


def test_a_fused_bias_holds_those_that_did_not_train_too(gpt2, fill, tmp_path):
    first, second = gpt2.load(), gpt2.load()
    query, key = first.transformer_layers[0].attention.query, first.transformer_layers[0].attention.key
    first.enable_lora(2, bias="lora")
    fill(first)
    query.bias.assign(np.arange(16))
    first.save_lora_weights(tmp_path / "adapter")
    _, tensors = written(tmp_path / "adapter")
    assert np.array_equal(tensors["base_layer.bias"][:16], np.arange(16))
    assert np.array_equal(tensors["base_layer.bias"][16:32], key.bias.numpy())
    second.load_lora_weights(tmp_path / "adapter")
    assert np.abs(gpt2.outputs(second) - gpt2.outputs(first)).max() <= 1e-6


def test_a_fused_bias_has_nothing_of_the_adapter_that_happens_to_act(gpt2, fill, tmp_path):
    backbone = gpt2.load()
    key = backbone.transformer_layers[0].attention.key
    own = key.bias.numpy().copy()
    backbone.enable_lora(2, name="saved", bias="lora")
    backbone.enable_lora(2, name="active", train=["key"])
    key.bias.assign(own + 1)
    backbone.save_lora_weights(tmp_path / "adapter", "saved")
    _, tensors = written(tmp_path / "adapter")
    assert np.array_equal(tensors["base_layer.bias"][16:32], own)
