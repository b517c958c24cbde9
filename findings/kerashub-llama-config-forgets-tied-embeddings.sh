#!/usr/bin/env bash
# KerasHub: the config of a Llama backbone with tied embeddings makes an untied one, with more weights.
#
# Versions:    keras-hub 0.32.0, keras 3.15.1, torch 2.13.0, Python 3.11
# Expectation: from_config(get_config()) builds the same architecture, as Keras asks of every layer and model.
# Behaviour:   LlamaBackbone takes tie_word_embeddings, and get_config leaves it out, so the copy has the default, False:
#              a head of its own, which weights of the tied model do not fill.
# Output seen: argument in the config: False
#              tied: True, of the copy: False
#              parameters: 592, of the copy: 680
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet keras-hub==0.32.0 keras==3.15.1
cat > "$folder/tied.py" <<'PYTHON'
import keras_hub

Llama = keras_hub.models.LlamaBackbone
sizes = {"vocabulary_size": 11, "num_layers": 1, "hidden_dim": 8, "intermediate_dim": 12}
model = Llama(**sizes, num_query_heads=2, num_key_value_heads=1, tie_word_embeddings=True)
copy = Llama.from_config(model.get_config())
print("argument in the config:", "tie_word_embeddings" in model.get_config())
print(f"tied: {model.token_embedding.tie_weights}, of the copy: {copy.token_embedding.tie_weights}")
print(f"parameters: {model.count_params()}, of the copy: {copy.count_params()}")
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/tied.py" 2> /dev/null | tee "$folder/seen"
grep -q "^argument in the config: False$" "$folder/seen"
grep -q "^tied: True, of the copy: False$" "$folder/seen"
