#!/usr/bin/env bash
# KerasHub: SmolLM3 with dtype="bfloat16" says that it has that dtype, and has and computes float32.
#
# Versions:    keras-hub 0.32.0, keras 3.15.1, torch 2.13.0, Python 3.11
# Expectation: the argument dtype of a backbone, which from_preset takes for all of them, is that of its weights and
#              outputs: a model of 3 billion parameters has 6 GB in bfloat16.
# Behaviour:   SmolLM3Backbone gives dtype to the calls of its layers, which ignore it, instead of their constructors.
#              The layers follow the global policy, so that the model has 12 GB. The model's policy is the one asked for.
# Output seen: Llama: policy bfloat16, weights {'bfloat16'}, output bfloat16
#              SmolLM3: policy bfloat16, weights {'float32'}, output float32
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet keras-hub==0.32.0 keras==3.15.1
cat > "$folder/dtypes.py" <<'PYTHON'
import keras
import keras_hub
import numpy as np

sizes = {"vocabulary_size": 11, "hidden_dim": 8, "intermediate_dim": 12, "num_layers": 1, "num_key_value_heads": 1}
smollm3 = {
    "num_attention_heads": 2,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "rope_layer_enabled_list": [True],
    "layer_types": ["attention"],
    "mlp_bias": False,
    "layer_norm_epsilon": 1e-5,
    "max_position_embeddings": 32,
    "rope_theta": 10_000.0,
    "partial_rotary_factor": 1.0,
}
inputs = {"token_ids": np.ones((1, 3), "int32"), "padding_mask": np.ones((1, 3), "int32")}
models = {
    "Llama": keras_hub.models.LlamaBackbone(**sizes, num_query_heads=2, dtype="bfloat16"),
    "SmolLM3": keras_hub.models.SmolLM3Backbone(**sizes, **smollm3, dtype="bfloat16"),
}
for name, model in models.items():
    weights = {weight.dtype for weight in model.weights}
    output = keras.backend.standardize_dtype(model(inputs).dtype)
    print(f"{name}: policy {model.dtype_policy.name}, weights {weights}, output {output}")
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/dtypes.py" 2> /dev/null | tee "$folder/seen"
grep -q "^Llama: policy bfloat16, weights {'bfloat16'}, output bfloat16$" "$folder/seen"
grep -q "^SmolLM3: policy bfloat16, weights {'float32'}, output float32$" "$folder/seen"
