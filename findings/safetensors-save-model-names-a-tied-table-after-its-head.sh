#!/usr/bin/env bash
# safetensors: save_model names a tied table after its head, and the base model loads with a random table.
#
# Versions:    safetensors 0.8.0, transformers 5.23.0, torch 2.13.0, Python 3.11
# Expectation: save_model is documented as the way to save models that share tensors. A folder with its file and the
#              model's config is a checkpoint as save_pretrained writes it, from which AutoModel loads the base model.
# Behaviour:   GPT-2's table is saved as `lm_head.weight`, because that is before `transformer.wte.weight`; the other
#              name is in the metadata, which transformers does not read. The language model loads, and the base model
#              gets a random table: only the loading report mentions it.
# Output seen: save_pretrained: ['transformer.wte.weight']; hidden states of AutoModel differ by 0.0
#              save_model: ['lm_head.weight'], {'transformer.wte.weight': 'lm_head.weight'}; they differ by 2.2
#              logits of the language model differ by 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy transformers==5.23.0 safetensors==0.8.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2> /dev/null
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_model
from transformers import AutoModel, GPT2Config, GPT2LMHeadModel

torch.manual_seed(0)
torch.set_grad_enabled(False)
sizes = {"vocab_size": 30, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=1, eos_token_id=1)).eval()
ids = torch.tensor([[1, 2, 3]])
usual, other = f"{sys.argv[1]}/save_pretrained", f"{sys.argv[1]}/save_model"
model.save_pretrained(usual)
model.config.save_pretrained(other)
save_model(model, f"{other}/model.safetensors", {"format": "pt"})


def tables(path):
    """Returns the names of the table in a file, and the names that its metadata has for it."""
    with safe_open(f"{path}/model.safetensors", "pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != "format"}
        return [name for name in file.keys() if "wte" in name or "head" in name], metadata


def gap(path):
    hidden = AutoModel.from_pretrained(path).eval()(ids).last_hidden_state
    return (hidden - model.transformer(ids).last_hidden_state).abs().max().item()


right, wrong, (names, metadata) = gap(usual), gap(other), tables(other)
print(f"save_pretrained: {tables(usual)[0]}; hidden states of AutoModel differ by {right}")
print(f"save_model: {names}, {metadata}; they differ by {wrong:.1f}")
logits = (GPT2LMHeadModel.from_pretrained(other).eval()(ids).logits - model(ids).logits).abs().max().item()
print(f"logits of the language model differ by {logits}")
sys.exit(not (right == logits == 0 and wrong > 0.1 and names == ["lm_head.weight"]))
PYTHON
