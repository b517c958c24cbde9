#!/usr/bin/env bash
# PEFT: merging an adapter of a tied input embedding changes the logits, without a warning.
#
# Versions:    peft 0.21.2, transformers 5.23.0, torch 2.13.0, Python 3.11
# Expectation: merge_and_unload gives a model with the same outputs, up to rounding.
# Behaviour:   unmerged, the adapter of GPT-2's `wte` acts where tokens are looked up, and not in lm_head, which is the
#              same tensor. Merged, the tensor has one value for both, so the logits change by as much as the adapter.
# Output seen: unmerged, logits are h E^T: True; merged, they differ by 5.8; warnings while merging: []
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy transformers==5.23.0 peft==0.21.2
"$folder/venv/bin/python" - <<'PYTHON' 2> /dev/null
import sys
import warnings

import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

torch.manual_seed(0)
sizes = {"vocab_size": 30, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
base = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=1, eos_token_id=1)).eval()
table = base.transformer.wte.weight
model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["wte"])).eval()
for name, parameter in model.named_parameters():
    if "lora" in name:
        parameter.data = torch.randn_like(parameter) * 0.3
ids = torch.tensor([[1, 2, 3]])
before = model(ids).logits.detach().clone()
hidden = model.base_model.model.transformer(ids).last_hidden_state
tied = torch.allclose(before, hidden @ table.T, atol=1e-5)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    merged = model.merge_and_unload()
gap = (merged(ids).logits - before).abs().max().item()
print(f"unmerged, logits are h E^T: {tied}; merged, they differ by {gap:.1f}", end="; ")
print("warnings while merging:", [str(warning.message) for warning in caught])
sys.exit(not (tied and gap > 1 and not caught))
PYTHON
