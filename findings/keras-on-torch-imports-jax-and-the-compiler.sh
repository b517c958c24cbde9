#!/usr/bin/env bash
# Keras: on the torch backend, `import keras` imports the whole of JAX, if installed, and torch's compiler.
#
# Versions:    keras 3.15.1, torch 2.13.0, jax 0.10.2, Python 3.11
# Expectation: a backend imports its own framework, and JAX is not loaded in a process that chose torch; torch imports
#              its compiler, torch._dynamo, with sympy, when something compiles.
# Behaviour:   the callback for Orbax imports JAX, to add a function to old versions of it, and two functions for random
#              numbers have a decorator of torch._dynamo. The three together are more modules than all the others, and
#              take more than half of the time of `import keras`.
# Output seen: loaded by import torch: -
#              loaded by import keras: jax, sympy, torch._dynamo
#              of the modules that import keras adds, more than half are these and what they import: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2
cat > "$folder/loaded.py" <<'PYTHON'
import sys

import torch

asked, heavy = sys.argv[1], ("jax", "sympy", "torch._dynamo")
by_torch, before = [name for name in heavy if name in sys.modules], len(sys.modules)
if asked == "without":  # Keras without them: JAX as if it were not installed, and a decorator that does nothing
    sys.modules["jax"] = None
    sys.modules["torch._dynamo"] = type(sys)("torch._dynamo")
    sys.modules["torch._dynamo"].disable = lambda: lambda function: function
import keras

by_keras = [name for name in heavy if name in sys.modules]
print(", ".join(by_torch) or "-", ", ".join(by_keras) or "-", len(sys.modules) - before, sep=";")
PYTHON
export KERAS_BACKEND=torch
IFS=';' read -r by_torch by_keras with <<< "$("$folder/venv/bin/python" "$folder/loaded.py" with)"
IFS=';' read -r _ _ without <<< "$("$folder/venv/bin/python" "$folder/loaded.py" without)"
echo "loaded by import torch: $by_torch"
echo "loaded by import keras: $by_keras"
if ((without * 2 < with)); then most=True; else most=False; fi
echo "of the modules that import keras adds, more than half are these and what they import: $most"
[[ $by_torch == - && $by_keras == "jax, sympy, torch._dynamo" && $most == True ]]
