#!/usr/bin/env bash
# KerasHub: SmolLM3 has other rotary positions under mixed_bfloat16 and mixed_float16 than in float32.
#
# Versions:    keras-hub 0.32.0, keras 3.15.1, torch 2.13.0, Python 3.11
# Expectation: rotary frequencies are constants, and angles are computed in float32 under all policies, as in the layer
#              RotaryEmbedding of KerasHub: only the cosines are rounded then, to 0.002 in bfloat16.
# Behaviour:   SmolLM3Backbone keeps the frequencies as a weight of each layer. Under a mixed policy, Keras casts float
#              weights to the compute dtype, so that the frequencies are rounded before they are multiplied by
#              positions, and the error grows with the position. The code casts them back to float32, too late. A model
#              that was trained so rotates by other angles when it is loaded in float32 or bfloat16.
# Output seen: largest error of a cosine at position 2000:
#              float32: SmolLM3 0.0000, RotaryEmbedding 0.0000
#              bfloat16: SmolLM3 0.0019, RotaryEmbedding 0.0019
#              mixed_float16: SmolLM3 0.2062, RotaryEmbedding 0.0002
#              mixed_bfloat16: SmolLM3 0.3548, RotaryEmbedding 0.0019
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet keras-hub==0.32.0 keras==3.15.1
cat > "$folder/angles.py" <<'PYTHON'
import sys

import keras
import keras_hub
import numpy as np

config = {
    "vocabulary_size": 11,
    "hidden_dim": 64,
    "intermediate_dim": 8,
    "num_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "rope_layer_enabled_list": [True],
    "layer_types": ["attention"],
    "mlp_bias": False,
    "layer_norm_epsilon": 1e-5,
    "max_position_embeddings": 2048,
    "rope_theta": 10_000.0,
    "partial_rotary_factor": 1.0,
}
position = 2000
right = np.cos(position / 10_000 ** (np.arange(32) / 32))
ones = np.zeros((1, 1, 1, 64), "float32")
ones[..., :32] = 1  # rotated, its first half has the cosines


def error(cosines):
    found = keras.ops.convert_to_numpy(keras.ops.cast(cosines, "float32"))
    return float(np.abs(found.reshape(-1)[:32] - right).max())


def errors(policy):
    keras.config.set_dtype_policy(policy)
    model = keras_hub.models.SmolLM3Backbone(**config)
    rotary = model.transformer_layers[0].self_attn.rotary_embedding
    cosines, _ = rotary(keras.ops.convert_to_tensor(ones), start_index=position)
    found = error(cosines), error(keras_hub.layers.RotaryEmbedding()(ones, start_index=position))
    print(f"{policy}: SmolLM3 {found[0]:.4f}, RotaryEmbedding {found[1]:.4f}")
    return found


print(f"largest error of a cosine at position {position}:")
exact = [errors("float32"), errors("bfloat16")]
mixed = [errors("mixed_float16"), errors("mixed_bfloat16")]
small = all(one < 0.005 for pair in exact for one in pair) and all(other < 0.005 for _, other in mixed)
sys.exit(not (small and all(found > 0.1 for found, _ in mixed)))
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/angles.py" 2> /dev/null
