#!/usr/bin/env bash
# PEFT: converting a trained PiSSA adapter on saving overwrites the config of the initial adapter, which then is wrong.
#
# Versions:    peft 0.21.2, transformers 5.23.0, torch 2.13.0, Python 3.11
# Expectation: save_pretrained(path, path_initial_model_for_weight_conversion=initial) reads the initial adapter, and
#              writes to `path` only.
# Behaviour:   it writes its own config, with init_lora_weights=True, into the initial adapter's folder and leaves it
#              there. Loaded again, the initial adapter, whose tensors are the principal part of the base's kernels, is
#              added to kernels from which this part is not subtracted. No warning is given.
# Output seen: initial adapter, loaded onto the base: off by 2e-07
#              after saving the trained one: off by 0.01; rewritten: {'init_lora_weights': ['pissa', True]}
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
from transformers import BertConfig, BertModel

sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
initial, trained = Path(sys.argv[1], "initial"), Path(sys.argv[1], "trained")
ids = torch.tensor([[1, 2, 3, 4]])
torch.set_grad_enabled(False)


def base():
    torch.manual_seed(0)
    return BertModel(BertConfig(vocab_size=30, **sizes)).eval()


def gap():
    """Returns how far the initial adapter, which changes no output, is from the base."""
    loaded = PeftModel.from_pretrained(base(), initial).eval()
    return (loaded(input_ids=ids).last_hidden_state - base()(ids).last_hidden_state).abs().max().item()


def settings():
    return json.loads((initial / "adapter_config.json").read_text())


config = LoraConfig(r=4, lora_alpha=4, target_modules=["query", "value"], init_lora_weights="pissa")
model = get_peft_model(base(), config).eval()
model.save_pretrained(initial)
rounding, before = gap(), settings()
print(f"initial adapter, loaded onto the base: off by {rounding:.0e}")
for parameter in model.parameters():
    if parameter.requires_grad:
        parameter += torch.randn_like(parameter) * 0.1
model.save_pretrained(trained, path_initial_model_for_weight_conversion=initial)
after, name = settings(), "init_lora_weights"
broken = gap()
print(f"after saving the trained one: off by {broken:.2f}; rewritten: {({name: [before[name], after[name]]})}")
sys.exit(not (rounding < 1e-5 and broken > 1e-3 and [before[name], after[name]] == ["pissa", True]))
PYTHON
