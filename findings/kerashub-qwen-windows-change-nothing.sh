#!/usr/bin/env bash
# KerasHub: the sliding windows of QwenBackbone and Qwen3Backbone change nothing on torch and JAX.
#
# Versions:    keras-hub 0.32.0, keras 3.15.1, torch 2.13.0, jax 0.10.2, Python 3.11
# Expectation: with a window of 2 a token attends to itself and the one before it, as in MistralBackbone, so outputs
#              differ from those without a window, and the last one does not depend on the first token in one layer.
# Behaviour:   the window is put into the mask after the branch for backends with a fused attention, which returns
#              first. That is torch and JAX on all devices, whatever keras.config says of flash attention. Outputs are
#              those of full attention, bit by bit. get_config has the window.
# Output seen: on torch: Mistral differs True, Qwen differs False, Qwen3 differs False
#              on jax: Mistral differs True, Qwen differs False, Qwen3 differs False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet keras-hub==0.32.0 keras==3.15.1 jax==0.10.2
cat > "$folder/windows.py" <<'PYTHON'
import keras
import keras_hub
import numpy as np

models = keras_hub.models
sizes = {"vocabulary_size": 11, "num_layers": 1, "hidden_dim": 16, "intermediate_dim": 8}
sizes |= {"num_query_heads": 2, "num_key_value_heads": 1}
ids = np.arange(10, dtype="int32")[None]
inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}


def outputs(kind, **arguments):
    model = kind(**sizes, **arguments)
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
    return keras.ops.convert_to_numpy(model(inputs))


def differs(kind, with_window, without):
    return not np.array_equal(outputs(kind, **with_window), outputs(kind, **without))


mistral = differs(models.MistralBackbone, {"sliding_window": 2}, {"sliding_window": 512})
qwen = differs(models.QwenBackbone, {"use_sliding_window_attention": True, "sliding_window_size": 2}, {})
heads = {"head_dim": 8}
qwen3 = differs(models.Qwen3Backbone, heads | {"sliding_window_size": 2}, heads | {"sliding_window_size": None})
print(f"on {keras.backend.backend()}: Mistral differs {mistral}, Qwen differs {qwen}, Qwen3 differs {qwen3}")
PYTHON
for backend in torch jax; do
  KERAS_BACKEND=$backend "$folder/venv/bin/python" "$folder/windows.py" 2> /dev/null | tee -a "$folder/seen"
done
grep -q "^on torch: Mistral differs True, Qwen differs False, Qwen3 differs False$" "$folder/seen"
grep -q "^on jax: Mistral differs True, Qwen differs False, Qwen3 differs False$" "$folder/seen"
