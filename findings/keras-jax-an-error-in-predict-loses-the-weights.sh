#!/usr/bin/env bash
# Keras on JAX: an exception while predict runs, such as of a file that cannot be read, loses the model's weights.
#
# Versions:    keras 3.15.1, jax 0.10.2 (CPU), Python 3.11
# Expectation: when a data set raises, predict raises, and the model is as before: it can be saved, or called again.
#              On torch it is.
# Behaviour:   while predict and evaluate run on JAX, the values are taken out of the variables (`_value = None`); they
#              are put back after the last batch only. After an exception in between, an interrupt included, every use
#              of the model fails, and the values are gone. fit puts them back in a `finally`, unless its first step
#              fails. Inputs or labels of a wrong shape, an everyday slip, do the same to a trained model.
# Output seen: predict: OSError: batch 9 cannot be read; then TypeError: 'NoneType' object is not callable
#              evaluate: OSError: batch 9 cannot be read; then TypeError: 'NoneType' object is not callable
#              fit: OSError: batch 9 cannot be read; the weights are there
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON' 2> /dev/null
import sys

import keras
import numpy as np


def batches():
    """Yields batches from files of which one cannot be read."""
    for _ in range(9):
        yield np.ones((2, 4)), np.ones((2, 3))
    raise OSError("batch 9 cannot be read")


def is_lost(method):
    """Returns whether a model has lost its weights, after one of its methods has met the batch."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    assert len(model.get_weights()) == 2
    try:
        getattr(model, method)(batches(), verbose=0)
    except OSError as error:
        print(f"{method}: OSError: {error}", end="; ")
    try:
        model.get_weights()
    except TypeError as error:
        print(f"then TypeError: {error}")
        return True
    print("the weights are there")
    return False


lost = [method for method in ("predict", "evaluate", "fit") if is_lost(method)]
sys.exit(lost != ["predict", "evaluate"])
PYTHON
