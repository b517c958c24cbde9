#!/usr/bin/env bash
# Keras: Dense and Embedding forget the `lora_alpha` that they are created with; EinsumDense keeps it.
#
# Versions:    keras 3.15.1, jax 0.10.2, Python 3.11
# Expectation: the argument `lora_alpha` scales the product of the two LoRA factors by lora_alpha / lora_rank, as its
#              documentation says, and the config has the value that was given.
# Behaviour:   building the layer enables LoRA without the argument, which sets it to the rank: the scale is always 1.
#              The config names the rank, too, so the value is lost in saved models. Only enable_lora() can set it.
# Output seen: Dense: scale 1, lora_alpha of the config 2
#              Embedding: scale 1, lora_alpha of the config 2
#              EinsumDense: scale 8, lora_alpha of the config 16
#              Dense by enable_lora: scale 8
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import sys

import keras
import numpy as np
from keras.layers import Dense, EinsumDense, Embedding

asked = {"lora_rank": 2, "lora_alpha": 16}


def scale(layer, inputs, factors):
    """Returns how many times the product of the factors, all ones and so 2, the layer adds to the outputs."""
    before = layer(inputs)
    for factor in factors:
        factor.assign(np.ones(factor.shape))
    return round(float((layer(inputs) - before)[0, 0]) / 2)


def of_dense(layer):
    if not layer.built:
        layer.build((None, 1))
    return scale(layer, np.ones((1, 1)), [layer.lora_kernel_a, layer.lora_kernel_b])


embedding = Embedding(1, 3, **asked)
embedding.build()
dense, einsum = Dense(3, **asked), EinsumDense("ab,bc->ac", (3,), **asked)
scales = {
    dense: of_dense(dense),
    embedding: scale(embedding, np.zeros(1), [embedding.lora_embeddings_a, embedding.lora_embeddings_b]),
    einsum: of_dense(einsum),
}
for layer, number in scales.items():
    print(f"{type(layer).__name__}: scale {number}, lora_alpha of the config {layer.get_config()['lora_alpha']}")
later = Dense(3)
later.build((None, 1))
later.enable_lora(2, lora_alpha=16)
by_method = of_dense(later)
print(f"Dense by enable_lora: scale {by_method}")
lost = dense.get_config()["lora_alpha"] == embedding.get_config()["lora_alpha"] == 2
sys.exit(not (list(scales.values()) == [1, 1, 8] and by_method == 8 and lost))
PYTHON
