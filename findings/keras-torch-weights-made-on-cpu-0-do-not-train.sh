#!/usr/bin/env bash
# Keras on torch: weights made within keras.device("cpu:0") are no parameters, and an optimizer of torch trains nothing.
#
# Versions:    keras 3.15.1, torch 2.13.0 (CPU), Python 3.11
# Expectation: keras.device takes torch's names of devices, and "cpu:0" is the device "cpu": a model made there is the
#              same torch.nn.Module, whose parameters() get gradients.
# Behaviour:   on "cpu:0" Keras moves each new parameter, and torch copies it: a tensor with a history. The module's
#              parameters are others, which share its memory and get no gradients: an optimizer's step does nothing, and
#              says nothing. A layer with a seed, as Dropout, cannot be made at all.
# Output seen: cpu: 2 parameters, 2 with gradients; a step changes the kernel: True; Dropout: made
#              cpu:0: 4 parameters, 0 with gradients; a step changes the kernel: False; Dropout: RuntimeError: Only
#              Tensors of floating point and complex dtype can require gradients
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 torch==2.13.0
KERAS_BACKEND=torch "$folder/venv/bin/python" - <<'PYTHON'
import sys

import keras
import torch


def trained(device):
    """Returns how many parameters of a model get gradients, whether a step changes it, and what becomes of Dropout."""
    with keras.device(device):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        try:
            keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5, seed=1)])
            dropout = "made"
        except RuntimeError as error:
            dropout = f"RuntimeError: {error}"
    before = model.layers[0].kernel.numpy().copy()
    model(torch.ones(1, 3)).sum().backward()
    parameters = list(model.parameters())
    torch.optim.SGD(parameters, 0.1).step()
    gradients = sum(parameter.grad is not None for parameter in parameters)
    changed = bool((model.layers[0].kernel.numpy() != before).any())
    print(f"{device}: {len(parameters)} parameters, {gradients} with gradients; ", end="")
    print(f"a step changes the kernel: {changed}; Dropout: {dropout}")
    return gradients, changed, dropout


whole, numbered = trained("cpu"), trained("cpu:0")
sys.exit(not (whole == (2, True, "made") and numbered[:2] == (0, False) and "require gradients" in numbered[2]))
PYTHON
