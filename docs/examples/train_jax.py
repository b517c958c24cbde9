"""Trains an adapter in a loop of jax's own: python train_jax.py."""
# ruff: noqa: T201

import tempfile
from typing import Any

import jax
import numpy as np

import vertebra

vertebra.use("jax")
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

# The adapter comes first: an optimiser knows only the variables that it is built for.
print(backbone.enable_lora(rank=4, alpha=8, seed=0))
logits = keras.layers.Dense(2, name="head")(backbone.output["pooled_output"])
model = keras.Model(backbone.input, logits)
optimizer = keras.optimizers.Adam(1e-2)
optimizer.build(model.trainable_variables)


def loss_of(trained: Any, others: Any, inputs: Any, labels: Any) -> Any:
    """Returns loss and updated state; only the first argument has gradients, so frozen weights cost none."""
    outputs, others = model.stateless_call(trained, others, inputs, training=True)
    losses = keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=True)
    return losses.mean(), others


@jax.jit
def step(trained: Any, others: Any, slots: Any, inputs: Any, labels: Any) -> Any:
    (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained, others, inputs, labels)
    trained, slots = optimizer.stateless_apply(slots, gradients, trained)
    return loss, trained, others, slots


# Does a row begin with a token from the upper half of the vocabulary?
tokens = np.random.default_rng(0).integers(0, 100, (32, 8))
inputs = {"token_ids": tokens, "segment_ids": np.zeros_like(tokens), "padding_mask": np.ones_like(tokens)}
labels = tokens[:, 0] // 50
held = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
state = [[variable.value for variable in variables] for variables in held]
for number in range(1, 9):
    loss, *state = step(*state, inputs, labels)
    print(f"step {number}: loss {float(loss):.4f}")
for variables, values in zip(held, state, strict=True):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)

# The file holds the adapter of the backbone; the head is a layer of your own: save it separately.
backbone.save_lora_weights(f"{folder.name}/adapter.safetensors")
fresh = vertebra.Backbone.from_preset(f"{folder.name}/base")
fresh.load_lora_weights(f"{folder.name}/adapter.safetensors")
outputs = [keras.ops.convert_to_numpy(each(inputs)["pooled_output"]) for each in (backbone, fresh)]
print("the same after loading:", np.array_equal(*outputs))
folder.cleanup()
