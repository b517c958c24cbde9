#!/usr/bin/env bash
# KerasHub: enable_lora takes an embedding as its target and trains it, and save_lora_weights then fails.
#
# Versions:    keras-hub 0.32.0, keras 3.15.1, jax 0.10.2, Python 3.11
# Expectation: what enable_lora(rank, target_layer_names=["token_embedding"]) makes trainable can be saved, or is
#              refused before training.
# Behaviour:   two variables train; saving raises an AttributeError about a name that only dense layers have.
# Output seen: ['token_embedding/lora_embeddings_a', 'token_embedding/lora_embeddings_b']
#              AttributeError: 'ReversibleEmbedding' object has no attribute 'lora_kernel_a'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 packaging regex rich kagglehub tokenizers sentencepiece
"$folder/venv/bin/pip" install --quiet --no-deps keras-hub==0.32.0
KERAS_BACKEND=jax "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import keras_hub

backbone = keras_hub.models.BertBackbone(
    vocabulary_size=30, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16, max_sequence_length=8
)
backbone.enable_lora(2, target_layer_names=["token_embedding"])
print([variable.path for variable in backbone.trainable_variables])
try:
    backbone.save_lora_weights(f"{sys.argv[1]}/adapter.lora.h5")
except AttributeError as error:
    print(f"AttributeError: {error}")
    sys.exit("lora_kernel_a" not in str(error))
print("saved: the behaviour has changed")
sys.exit(1)
PYTHON
