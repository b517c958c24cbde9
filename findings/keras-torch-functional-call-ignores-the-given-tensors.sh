#!/usr/bin/env bash
# Keras on torch: torch.func.functional_call of a Keras model computes with the model's own weights, without a word.
#
# Versions:    keras 3.15.1, torch 2.13.0 (CPU), Python 3.11
# Expectation: a Keras model on torch is a torch.nn.Module whose named_parameters() are its weights, so a functional
#              call computes with the tensors that it is given, as it does for a module of torch.
# Behaviour:   the call puts the tensors in place of the registered parameters, but Keras's layers read their variables.
#              There is neither an error nor a warning; gradients by the given tensors do not exist.
# Output seen: Linear: 2 parameters; largest output with zeros: 0
#              Sequential: 2 parameters; largest output with zeros: 1.1 (any number but 0)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 torch==2.13.0
KERAS_BACKEND=torch "$folder/venv/bin/python" - <<'PYTHON'
import sys

import keras
import torch

keras.utils.set_random_seed(1)
layer = torch.nn.Linear(3, 2)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
inputs = torch.ones(1, 3)


def reacts(module):
    """Returns whether a functional call computes with the tensors that it is given: zeros."""
    zeros = {name: torch.zeros_like(parameter) for name, parameter in module.named_parameters()}
    outputs = torch.func.functional_call(module, zeros, (inputs,))
    largest = outputs.abs().max().item()
    print(f"{type(module).__name__}: {len(zeros)} parameters; largest output with zeros: {largest:.2g}")
    return largest == 0


sys.exit(not (reacts(layer) and not reacts(model)))
PYTHON
