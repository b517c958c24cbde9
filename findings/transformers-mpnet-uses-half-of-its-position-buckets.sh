#!/usr/bin/env bash
# transformers: MPNet makes a table of `relative_attention_num_buckets` rows, and sorts distances into 32 always.
#
# Versions:    transformers 5.23.0, torch 2.13.0, Python 3.11
# Expectation: the option is "the number of buckets to use for each attention layer", as it is for T5: with 64,
#              distances that 32 buckets do not tell apart get rows of their own.
# Behaviour:   only the table has the size that the config says. With 64 half of its rows, trainable and saved, is never
#              read: changing it changes nothing. T5 with the same option reads all but the one that no distance has.
# Output seen: MPNet, 32 buckets: rows read 0 to 31
#              MPNet, 64 buckets: rows read 0 to 31; other rows change the outputs: False
#              T5, 64 buckets: rows read 0 to 63
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy transformers==5.23.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from transformers import MPNetConfig, MPNetModel, T5Config, T5EncoderModel

torch.set_grad_enabled(False)
ids = torch.full((1, 280), 5)


def rows(model, table):
    """Returns the smallest and the largest index of the table's rows that a call of the model reads."""
    read = set()
    hook = table.register_forward_hook(lambda module, inputs, outputs: read.update(inputs[0].flatten().tolist()))
    model(ids)
    hook.remove()
    return min(read), max(read)


def mpnet(buckets):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = MPNetConfig(
        vocab_size=30,
        max_position_embeddings=300,
        relative_attention_num_buckets=buckets,
        initializer_range=0.5,
        **sizes,
    )
    return MPNetModel(config).eval()


usual = mpnet(32)
of_usual = rows(usual, usual.encoder.relative_attention_bias)
print(f"MPNet, 32 buckets: rows read {of_usual[0]} to {of_usual[1]}")
model = mpnet(64)
table = model.encoder.relative_attention_bias
of_larger = rows(model, table)
before = model(ids).last_hidden_state
table.weight[32:] += 10 * torch.randn(32, 2)
reacts = not torch.equal(model(ids).last_hidden_state, before)
print(f"MPNet, 64 buckets: rows read {of_larger[0]} to {of_larger[1]}; other rows change the outputs: {reacts}")
config = T5Config(
    vocab_size=30, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, relative_attention_num_buckets=64
)
t5 = T5EncoderModel(config).eval()
of_t5 = rows(t5, t5.encoder.block[0].layer[0].SelfAttention.relative_attention_bias)
print(f"T5, 64 buckets: rows read {of_t5[0]} to {of_t5[1]}")
sys.exit(not (of_usual == of_larger == (0, 31) and not reacts and of_t5 == (0, 63)))
PYTHON
