#!/usr/bin/env bash
# Keras: a model with LoRA that is saved and loaded has zeros in both LoRA factors, so that training does nothing.
#
# Versions:    keras 3.15.1, jax 0.10.2, Python 3.11
# Expectation: a .keras file holds the state of training, and a loaded model can be trained further, as one without LoRA
#              can. Folding the product into the kernel would be fine, were one factor initialised anew.
# Behaviour:   saving merges the product into the kernel, and loading assigns zeros to `lora_kernel_a` and to
#              `lora_kernel_b`. The gradient of each is a product with the other, 0. The kernel is frozen. fit() reports
#              a loss as usual, and no weight changes, for any number of epochs. There is no warning.
# Output seen: loss before saving: 0.44 to 0.172
#              largest of the loaded trainable weights: {'lora_kernel_a': 0.0, 'lora_kernel_b': 0.0}
#              after 50 epochs more: {'lora_kernel_a': 0.0, 'lora_kernel_b': 0.0}; change of the outputs: 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2
KERAS_BACKEND=jax "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import keras
import numpy as np

keras.utils.set_random_seed(1)
inputs, targets = np.random.rand(8, 4), np.random.rand(8, 3)
path = f"{sys.argv[1]}/model.keras"


def largest(model):
    return {weight.name: float(np.abs(np.asarray(weight)).max()) for weight in model.trainable_weights}


def train(model, epochs):
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model.fit(inputs, targets, epochs=epochs, verbose=0).history["loss"]


model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
model.layers[0].enable_lora(2)
losses = train(model, 20)
print(f"loss before saving: {losses[0]:.3g} to {losses[-1]:.3g}")
model.save(path)
loaded = keras.saving.load_model(path)
at_first = largest(loaded)
print(f"largest of the loaded trainable weights: {at_first}")
before = loaded.predict(inputs, verbose=0)
same = np.allclose(before, model.predict(inputs, verbose=0), atol=1e-5)
train(loaded, 50)
change = float(np.abs(loaded.predict(inputs, verbose=0) - before).max())
print(f"after 50 epochs more: {largest(loaded)}; change of the outputs: {change}")
zeros = {"lora_kernel_a": 0.0, "lora_kernel_b": 0.0}
sys.exit(not (same and losses[-1] < losses[0] / 2 and at_first == largest(loaded) == zeros and change == 0))
PYTHON
