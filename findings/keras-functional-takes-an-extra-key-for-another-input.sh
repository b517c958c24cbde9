#!/usr/bin/env bash
# Keras: a functional model with a dict of inputs computes with a key that it does not have, in place of one that it has.
#
# Versions:    keras 3.15.1, jax 0.10.2 (CPU), Python 3.11
# Expectation: a key that is no input of the model, in addition to all that are, is an error, or is left out.
# Behaviour:   the values are matched by their order among the sorted keys, so that the extra key takes the position of an
#              input. Only a UserWarning about the structure says that something is amiss; the outputs are others.
# Output seen: b - c: 1.0; with a = 9: 8.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2
KERAS_BACKEND=jax "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import keras
import numpy as np

b, c = keras.Input((1,), name="b"), keras.Input((1,), name="c")
model = keras.Model({"b": b, "c": c}, b - c)
inputs = {"b": np.ones((1, 1)), "c": np.zeros((1, 1))}
own = float(model(inputs)[0, 0])
other = float(model({"a": np.full((1, 1), 9.0), **inputs})[0, 0])
print(f"b - c: {own}; with a = 9: {other}")
sys.exit((own, other) != (1.0, 8.0))
PYTHON
