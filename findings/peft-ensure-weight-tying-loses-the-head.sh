#!/usr/bin/env bash
# PEFT: an adapter of a tied table and its head, made with ensure_weight_tying=True, is another one after reloading.
#
# Versions:    peft 0.21.2, transformers 5.23.0, torch 2.13.0, Python 3.11
# Expectation: save_pretrained and from_pretrained give the same outputs, as without the option. PEFT itself advises to
#              set the option for a tied model.
# Behaviour:   the option takes `lm_head` out of the target_modules that are saved. The file has the head's tensors;
#              loading passes over them, so the head is the base's. A warning says that no tied module is adapted.
# Output seen: without the option: reloaded logits differ by 0.0
#              with it: reloaded logits differ by 6.7, and are h E^T of the base: True
#              tensors of the head in the file: 2; saved target_modules: ['transformer.wte', 'wte']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy transformers==5.23.0 peft==0.21.2
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2> /dev/null
import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel

sizes = {"vocab_size": 30, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
ids = torch.tensor([[1, 2, 3]])
torch.set_grad_enabled(False)


def base():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=1, eos_token_id=1)).eval()


def reloaded(tied):
    """Returns by how much reloading changes the logits, whether they are then those of the base's head, and a path."""
    path = Path(sys.argv[1], f"tied_{tied}")
    config = LoraConfig(r=4, target_modules=["wte", "lm_head"], ensure_weight_tying=tied)
    model = get_peft_model(base(), config).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    before = model(ids).logits
    model.save_pretrained(path)
    outputs = PeftModel.from_pretrained(base(), path).eval()(ids, output_hidden_states=True)
    of_base = torch.allclose(outputs.logits, outputs.hidden_states[-1] @ base().lm_head.weight.T, atol=1e-5)
    return (outputs.logits - before).abs().max().item(), of_base, path


plain, _, _ = reloaded(tied=False)
print(f"without the option: reloaded logits differ by {plain}")
gap, of_base, path = reloaded(tied=True)
print(f"with it: reloaded logits differ by {gap:.1f}, and are h E^T of the base: {of_base}")
head = [name for name in load_file(path / "adapter_model.safetensors") if "lm_head" in name]
targets = sorted(json.loads((path / "adapter_config.json").read_text())["target_modules"])
print(f"tensors of the head in the file: {len(head)}; saved target_modules: {targets}")
sys.exit(not (plain == 0 and gap > 1 and of_base and len(head) == 2 and "lm_head" not in targets))
PYTHON
