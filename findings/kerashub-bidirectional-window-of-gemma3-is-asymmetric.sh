#!/usr/bin/env bash
# KerasHub: the window of a Gemma 3 in both directions, as in EmbeddingGemma, has one token less before than after.
#
# Versions:    keras-hub 0.32.0, keras 3.15.1, transformers 5.23.0, torch 2.13.0, Python 3.11
# Expectation: `sliding_window_size` of Gemma3Backbone means what it means to transformers, from whose configs
#              from_preset takes it: a token attends to those within half the window on either side, as the mask's
#              docstring says, too.
# Behaviour:   with an even size, such as EmbeddingGemma's 512, it attends to one token less on the left: 255 before
#              and 256 after. Vectors of texts that are longer than half the window differ. An odd size gives a
#              symmetric window: 513 is what transformers calls 512.
# Output seen: window 4: KerasHub 1 before, 2 after; transformers 2 before, 2 after
#              window 5: KerasHub 2 before, 2 after; transformers 2 before, 2 after
#              window 512: KerasHub 255 before, 256 after; transformers 256 before, 256 after
#              a checkpoint with window 4, loaded by from_preset: outputs differ by 0.6 for 9 tokens, by 0.0 for 2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 torch==2.13.0 transformers==5.23.0 packaging regex rich kagglehub tokenizers sentencepiece
"$folder/venv/bin/pip" install --quiet --no-deps keras-hub==0.32.0
KERAS_BACKEND=torch "$folder/venv/bin/python" - "$folder" <<'PYTHON' 2> /dev/null
import contextlib
import sys
from pathlib import Path

import torch
from keras_hub.models import Gemma3Backbone
from transformers import Gemma3TextConfig, Gemma3TextModel

torch.set_grad_enabled(False)
SIZES = {"head_dim": 16, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 32}


def theirs(window):
    """Returns a model of transformers with one layer, which has a window."""
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=30,
        hidden_size=32,
        num_hidden_layers=1,
        query_pre_attn_scalar=16,
        sliding_window=window,
        use_bidirectional_attention=True,
        pad_token_id=0,
        initializer_range=0.3,
        **SIZES,
    )
    return Gemma3TextModel(config).eval()


def keras_hub(window):
    return Gemma3Backbone(
        vocabulary_size=30,
        image_size=16,
        num_layers=1,
        num_query_heads=2,
        num_key_value_heads=2,
        hidden_dim=32,
        intermediate_dim=32,
        head_dim=16,
        use_sliding_window_attention=True,
        sliding_window_size=window,
        use_bidirectional_attention=True,
        use_query_key_norm=True,
        dtype="float32",
    )


def call(model, ids):
    if isinstance(model, Gemma3TextModel):
        return model(ids).last_hidden_state
    return model({"token_ids": ids, "padding_mask": torch.ones_like(ids)})


def sides(model, window):
    """Returns how many tokens before and after the middle one have an effect on its output."""
    middle = window // 2 + 3
    ids = torch.full((1, 2 * middle + 1), 5)
    before = call(model, ids)[0, middle]
    found = []
    for step in (-1, 1):
        distance = window // 2 + 2
        while distance:  # from outside of the window
            changed = ids.clone()
            changed[0, middle + step * distance] = 6
            if (call(model, changed)[0, middle] - before).abs().max() > 1e-5:
                break
            distance -= 1
        found.append(distance)
    return tuple(found)


windows = {}
for window in (4, 5, 512):
    windows[window] = found = sides(keras_hub(window), window), sides(theirs(window), window)
    texts = ["{} before, {} after".format(*one) for one in found]
    print(f"window {window}: KerasHub {texts[0]}; transformers {texts[1]}")
model = theirs(4)
model.save_pretrained(Path(sys.argv[1], "model"))
with contextlib.redirect_stdout(None):  # that there are no layers after pooling
    loaded = Gemma3Backbone.from_preset(str(Path(sys.argv[1], "model")), dtype="float32")
gaps = []
for length in (9, 2):
    ids = torch.arange(2, 2 + length)[None]
    gaps.append((call(loaded, ids)["sequence_output"] - call(model, ids)).abs().max().item())
texts = f"outputs differ by {gaps[0]:.1f} for 9 tokens, by {gaps[1]:.1f} for 2"
print(f"a checkpoint with window 4, loaded by from_preset: {texts}")
expected = {4: ((1, 2), (2, 2)), 5: ((2, 2), (2, 2)), 512: ((255, 256), (256, 256))}
sys.exit(not (windows == expected and gaps[0] > 0.1 and gaps[1] < 1e-3))
PYTHON
