"""Trains an adapter in a loop of torch's own: python train_torch.py."""
# ruff: noqa: T201

import tempfile

import numpy as np
import torch

import vertebra

vertebra.use("torch")
import keras  # noqa: E402 (Keras keeps the backend that it is imported with)

# A small backbone of random weights, so that this runs anywhere; yours comes from Backbone.from_preset.
keras.utils.set_random_seed(0)
backbone = vertebra.models.BertBackbone(
    vocabulary_size=100,
    num_layers=2,
    num_heads=2,
    hidden_dim=32,
    intermediate_dim=64,
    max_sequence_length=16,
    dropout=0,
)
folder = tempfile.TemporaryDirectory()
backbone.save_to_preset(f"{folder.name}/base")

# The adapter comes first: an optimiser knows only the parameters that it is given.
print(backbone.enable_lora(rank=4, alpha=8, seed=0))
logits = keras.layers.Dense(2, name="head")(backbone.output["pooled_output"])
model = keras.Model(backbone.input, logits)
optimizer = torch.optim.AdamW(vertebra.lora.parameter_groups(model, learning_rate=1e-2))

# Does a row begin with a token from the upper half of the vocabulary?
tokens = np.random.default_rng(0).integers(0, 100, (32, 8))
inputs = {"token_ids": tokens, "segment_ids": np.zeros_like(tokens), "padding_mask": np.ones_like(tokens)}
labels = torch.tensor(tokens[:, 0] // 50)
for step in range(1, 9):
    loss = torch.nn.functional.cross_entropy(model(inputs, training=True), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step}: loss {loss.item():.4f}")

# The file holds the adapter of the backbone; the head is a layer of your own: save it separately.
backbone.save_lora_weights(f"{folder.name}/adapter.safetensors")
fresh = vertebra.Backbone.from_preset(f"{folder.name}/base")
fresh.load_lora_weights(f"{folder.name}/adapter.safetensors")
outputs = [keras.ops.convert_to_numpy(each(inputs)["pooled_output"]) for each in (backbone, fresh)]
print("the same after loading:", np.array_equal(*outputs))
folder.cleanup()
