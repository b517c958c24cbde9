#!/usr/bin/env bash
# KerasHub: rope_position_scaling_factor of LlamaBackbone changes nothing.
#
# Versions:    keras-hub 0.32.0, keras 3.15.1, torch 2.13.0, Python 3.11
# Expectation: a factor of 4 divides positions by 4, as scaling_factor of the layer RotaryEmbedding and
#              rope_scaling_factor of MistralBackbone do: checkpoints for longer texts have such a factor.
# Behaviour:   the rotary layer of Llama is a subclass of RotaryEmbedding that computes the frequencies itself, and
#              leaves out the division by the factor. Outputs are the same, bit by bit, for all factors. get_config has
#              the factor.
# Output seen: Mistral: a factor of 4 changes the outputs: True
#              Llama: a factor of 4 changes the outputs: False; in the config: 4.0
#              Llama: a wavelength of 40,000 changes the outputs: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet keras-hub==0.32.0 keras==3.15.1
cat > "$folder/factor.py" <<'PYTHON'
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


def changes(kind, **arguments):
    return not np.array_equal(outputs(kind, **arguments), outputs(kind))


llama = models.LlamaBackbone
mistral = changes(models.MistralBackbone, rope_scaling_factor=4.0)
scaled = changes(llama, rope_position_scaling_factor=4.0)
config = llama(**sizes, rope_position_scaling_factor=4.0).get_config()
print("Mistral: a factor of 4 changes the outputs:", mistral)
print(f"Llama: a factor of 4 changes the outputs: {scaled}; in the config: {config['rope_position_scaling_factor']}")
print("Llama: a wavelength of 40,000 changes the outputs:", changes(llama, rope_max_wavelength=40_000))
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/factor.py" 2> /dev/null | tee "$folder/seen"
grep -q "^Mistral: a factor of 4 changes the outputs: True$" "$folder/seen"
grep -q "^Llama: a factor of 4 changes the outputs: False; in the config: 4.0$" "$folder/seen"
grep -q "^Llama: a wavelength of 40,000 changes the outputs: True$" "$folder/seen"
