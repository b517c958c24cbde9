#!/usr/bin/env bash
# KerasHub on torch: a backbone has weights, but parameters() and state_dict() are empty: a torch optimiser gets nothing.
#
# Versions:    keras-hub 0.32.0, keras 3.15.1, torch 2.13.0, Python 3.11
# Expectation: Keras's models on torch are torch modules, whose parameters() are their weights, as those of a functional
#              model around the same layers are.
# Behaviour:   a KerasHub backbone, and a torch module that holds one, have no parameters and an empty state_dict, without
#              a message. keras.Model(backbone.input, backbone.output) has them.
# Output seen: weights of the backbone: 23
#              its parameters: 0, in its state_dict: 0
#              parameters of a module that holds it: 0
#              a functional model around it has parameters: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet keras-hub==0.32.0 keras==3.15.1
cat > "$folder/parameters.py" <<'PYTHON'
import keras
import keras_hub
import torch


class Classifier(torch.nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone


sizes = {"vocabulary_size": 11, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 12}
backbone = keras_hub.models.BertBackbone(**sizes, max_sequence_length=8)
print("weights of the backbone:", len(backbone.weights))
print(f"its parameters: {len(list(backbone.parameters()))}, in its state_dict: {len(backbone.state_dict())}")
print("parameters of a module that holds it:", len(list(Classifier(backbone).parameters())))
around = keras.Model(backbone.input, backbone.output)
print("a functional model around it has parameters:", len(list(around.parameters())) >= len(backbone.weights))
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/parameters.py" 2> /dev/null | tee "$folder/seen"
grep -q "^weights of the backbone: 23$" "$folder/seen"
grep -q "^its parameters: 0, in its state_dict: 0$" "$folder/seen"
grep -q "^parameters of a module that holds it: 0$" "$folder/seen"
grep -q "has parameters: True$" "$folder/seen"
