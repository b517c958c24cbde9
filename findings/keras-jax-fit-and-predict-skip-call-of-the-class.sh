#!/usr/bin/env bash
# Keras: on JAX, fit() and predict() of a model do not call the model, so that predict(x) is not model(x).
#
# Versions:    keras 3.15.1, jax 0.10.2, torch 2.13.0 (CPU), Python 3.11
# Expectation: predict(x) is model(x) in batches, on each backend: a subclass whose `__call__` scales its inputs trains
#              and predicts with scaled inputs.
# Behaviour:   on torch, fit() and predict() run the model. On JAX they run `Model.call` by a function of their own, and
#              an override of `__call__` has no part in them. There is no warning; the trained model is another one.
# Output seen: torch: model(x) 20, predict(x) 20
#              jax: model(x) 20, predict(x) 2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 torch==2.13.0
cat > "$folder/model.py" <<'PYTHON'
import sys

import keras
import numpy as np


class Scaled(keras.Model):
    """A dense layer, on ten times the inputs."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1, kernel_initializer="ones")

    def __call__(self, inputs, **options):
        return super().__call__(keras.ops.multiply(inputs, 10.0), **options)

    def call(self, inputs):
        return self.dense(inputs)


model = Scaled()
inputs = np.ones((4, 2), "float32")
direct = float(keras.ops.convert_to_numpy(model(inputs))[0, 0])
model.compile(loss="mse")
predicted = float(model.predict(inputs, verbose=0)[0, 0])
print(f"{keras.backend.backend()}: model(x) {direct:.0f}, predict(x) {predicted:.0f}")
sys.exit((direct, predicted) != (20, float(sys.argv[1])))
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/model.py" 20
KERAS_BACKEND=jax "$folder/venv/bin/python" "$folder/model.py" 2
