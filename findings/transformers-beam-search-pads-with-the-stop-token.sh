#!/usr/bin/env bash
# transformers: beam search fills short answers with the stop token if the padding token is 0.
#
# Versions:    transformers 5.23.0, torch 2.13.0, Python 3.11
# Expectation: rows of a batch are filled with pad_token_id after their stop token, by all methods of generate. 0 is the
#              padding token of T5, BERT and many others.
# Behaviour:   beam search takes a padding token of 0 for none, and fills with the first stop token, even if the answer
#              ended at another one. Other padding tokens, and greedy search, are as expected. So `ids != pad_token_id`
#              counts the filling as tokens of the answer.
# Output seen: pad 0, stop 4, greedy: [[4, 0, 0, 0, 0, 0], [8, 8, 4, 0, 0, 0], [8, 8, 8, 8, 8, 8]]
#              pad 1, stop 4, 2 beams: [[4, 1, 1, 1, 1, 1], [8, 8, 4, 1, 1, 1], [8, 8, 8, 8, 8, 8]]
#              pad 0, stop 4, 2 beams: [[4, 4, 4, 4, 4, 4], [8, 8, 4, 4, 4, 4], [8, 8, 8, 8, 8, 8]]
#              pad 0, stop 11 or 4, 2 beams: [[4, 11, 11, 11, 11, 11], [8, 8, 4, 11, 11, 11], [8, 8, 8, 8, 8, 8]]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy transformers==5.23.0
"$folder/venv/bin/python" - <<'PYTHON' 2> /dev/null
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel

torch.manual_seed(0)
config = {"vocab_size": 12, "n_positions": 32, "n_embd": 8, "n_layer": 1, "n_head": 1, "initializer_range": 1.0}
model = GPT2LMHeadModel(GPT2Config(**config, bos_token_id=None, eos_token_id=None)).eval()
prompts = torch.tensor([[2, 3], [4, 5], [6, 7]])
mask = torch.ones_like(prompts)


def fillings(pad, stop, beams):
    """Prints the answers, and returns the tokens that follow the stop token 4 in any row."""
    ids = model.generate(
        prompts,
        attention_mask=mask,
        num_beams=beams,
        do_sample=False,
        max_new_tokens=6,
        pad_token_id=pad,
        eos_token_id=stop,
    )
    answers = ids[:, 2:].tolist()
    method = "greedy" if beams == 1 else f"{beams} beams"
    print(f"pad {pad}, stop {' or '.join(map(str, stop))}, {method}: {answers}")
    return {token for row in answers if 4 in row for token in row[row.index(4) + 1 :]}


as_expected = fillings(0, [4], 1) == {0} and fillings(1, [4], 2) == {1}
sys.exit(not (as_expected and fillings(0, [4], 2) == {4} and fillings(0, [11, 4], 2) == {11}))
PYTHON
