#!/usr/bin/env bash
# KerasHub: keras.models.clone_model fails for Llama 3 and GPT-NeoX: the configs of their layers do not fit the layers.
#
# Versions:    keras-hub 0.32.0, keras 3.15.1, torch 2.13.0, Python 3.11
# Expectation: Keras clones a functional model of registered layers, as it clones KerasHub's GPT-2 and Mistral.
# Behaviour:   get_config of Llama's decoder layer reads an attribute that the layer does not have, and that of
#              GPT-NeoX's returns a name that its constructor does not take.
# Output seen: GPT2 cloned
#              Mistral cloned
#              Llama3 AttributeError
#              GPTNeoX TypeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet keras-hub==0.32.0 keras==3.15.1
cat > "$folder/clone.py" <<'PYTHON'
import keras
import keras_hub

sizes = {"vocabulary_size": 11, "num_layers": 1, "hidden_dim": 8, "intermediate_dim": 12}
one, grouped = {"num_heads": 2}, {"num_query_heads": 2, "num_key_value_heads": 1}
for name, heads in {"GPT2": one, "Mistral": grouped, "Llama3": grouped, "GPTNeoX": one}.items():
    backbone = getattr(keras_hub.models, f"{name}Backbone")(**sizes, **heads)
    try:
        keras.models.clone_model(backbone)
        print(name, "cloned")
    except Exception as error:
        print(name, type(error).__name__)
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/clone.py" 2> /dev/null | tee "$folder/seen"
grep -q "^GPT2 cloned$" "$folder/seen"
grep -q "^Mistral cloned$" "$folder/seen"
grep -q "^Llama3 .*Error$" "$folder/seen"
grep -q "^GPTNeoX .*Error$" "$folder/seen"
