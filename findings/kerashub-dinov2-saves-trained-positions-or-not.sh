#!/usr/bin/env bash
# KerasHub: DINOv2's trained positions are in a saved file if they shrank in sum, and lost without a word if they grew.
#
# Versions:    keras-hub 0.32.0, keras 3.15.1, torch 2.13.0, Python 3.11
# Expectation: a file holds the weights that training has changed.
# Behaviour:   calls use positions that are interpolated to the image size, and these train. Saving copies them back only
#              if they differ from the loaded ones, and tells that by a sum of signed differences, loaded minus
#              trained, above epsilon: a sum below 0 is no difference. Loading then interpolates the old positions again,
#              even for equal sizes.
# Output seen: trained by +0.1: lost 0.10
#              trained by -0.1: lost 0.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet keras-hub==0.32.0 keras==3.15.1
cat > "$folder/save.py" <<'PYTHON'
import sys

import keras_hub
import numpy as np

arguments = {"patch_size": 4, "num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 16}
shape = {"image_shape": (8, 8, 3), "position_embedding_shape": (8, 8)}


def made():
    return keras_hub.models.DINOV2Backbone(**arguments, **shape)


for step in (0.1, -0.1):
    model = made()
    positions = model.embeddings.interpolated_position_embeddings
    positions.assign(positions + step)  # as an optimizer does, which trains this variable
    model.save_weights(sys.argv[1])
    again = made()
    again.load_weights(sys.argv[1])
    found = again.embeddings.interpolated_position_embeddings
    lost = np.abs(found.numpy() - positions.numpy()).max()
    print(f"trained by {step:+.1f}: lost {lost:.2f}")
PYTHON
KERAS_BACKEND=torch "$folder/venv/bin/python" "$folder/save.py" "$folder/model.weights.h5" 2> /dev/null | tee "$folder/seen"
grep -q "^trained by +0.1: lost 0.10$" "$folder/seen"
grep -q "^trained by -0.1: lost 0.00$" "$folder/seen"
