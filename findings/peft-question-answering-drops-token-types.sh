#!/usr/bin/env bash
# PEFT: a QUESTION_ANS model ignores token_type_ids, so question and context are not told apart until it is merged.
#
# Versions:    peft 0.21.2, transformers 5.23.0, torch 2.13.0, Python 3.11
# Expectation: a tokenizer of BERT marks the question with 0 and the context with 1 in token_type_ids. An adapter that
#              changes nothing yet gives the outputs of the base model for this pair, as with task_type="SEQ_CLS".
# Behaviour:   forward has a parameter token_type_ids and does not pass it on, nor position_ids. Outputs are
#              those of a pair without types, with the adapter disabled, too. merge_and_unload returns the base's class,
#              which uses them: the model that is deployed is not the one that was trained. No warning is given.
# Output seen: apart from the base model by 0.03 (disabled: 0.03), and from the base model without types by 0.0
#              merged: apart by 0.03; position_ids: apart by 0.1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy transformers==5.23.0 peft==0.21.2
"$folder/venv/bin/python" - <<'PYTHON' 2> /dev/null
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForQuestionAnswering

torch.manual_seed(0)
torch.set_grad_enabled(False)
sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
base = BertForQuestionAnswering(BertConfig(vocab_size=30, **sizes)).eval()
ids = torch.tensor([[1, 5, 6, 2, 7, 8, 9, 2]])
types = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]])
positions = torch.arange(8)[None] + 3


def logits(model, **inputs):
    return model(input_ids=ids, **inputs).start_logits


def apart(one, other):
    return (one - other).abs().max().item()


right, untyped = logits(base, token_type_ids=types), logits(base)
moved = logits(base, position_ids=positions)
model = get_peft_model(base, LoraConfig(r=2, task_type="QUESTION_ANS")).eval()
unmerged = logits(model, token_type_ids=types)
with model.disable_adapter():
    disabled = apart(logits(model, token_type_ids=types), right)
typed, dropped = apart(unmerged, right), apart(unmerged, untyped)
print(f"apart from the base model by {typed:.2f} (disabled: {disabled:.2f}), ", end="")
print(f"and from the base model without types by {dropped}")
shifted = apart(logits(model, position_ids=positions), moved)
merged = apart(logits(model.merge_and_unload(), token_type_ids=types), unmerged)
print(f"merged: apart by {merged:.2f}; position_ids: apart by {shifted:.1g}")
sys.exit(not (min(typed, disabled, merged, shifted) > 1e-3 and dropped == 0))
PYTHON
