#!/usr/bin/env bash
# Keras on JAX: variable.assign(other) shares the array, and training the one model destroys the other.
#
# Versions:    keras 3.15.1, jax 0.10.2 (CPU), Python 3.11
# Expectation: copying weights variable by variable, as for a target network or an average of weights, copies values.
#              On torch and TensorFlow it does.
# Behaviour:   on JAX both variables refer to one array. `fit` donates the arrays of the model that it trains to the
#              compiled step, which deletes them: the other model cannot be called any more.
# Output seen: RuntimeError: Array has been deleted with shape=float32[4,3].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import sys

import keras
import numpy as np


def network():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


online, target = network(), network()
for ours, theirs in zip(target.variables, online.variables):
    ours.assign(theirs)
print("one array for both:", target.variables[0].value is online.variables[0].value)
online.compile("sgd", "mse")
online.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
try:
    target.predict(np.ones((1, 4)), verbose=0)
except RuntimeError as error:
    print(f"RuntimeError: {str(error).splitlines()[0]}")
    sys.exit("deleted" not in str(error))
print("the target network still computes: the behaviour has changed")
sys.exit(1)
PYTHON
