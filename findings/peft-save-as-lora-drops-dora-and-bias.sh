#!/usr/bin/env bash
# PEFT: save_as_lora converts DoRA adapters and adapters with lora_bias to LoRA adapters that compute something else.
#
# Versions:    peft 0.21.2, transformers 5.23.0, torch 2.13.0, Python 3.11
# Expectation: at full rank any change of a matrix is a product of two matrices, so the converted adapter has the same
#              outputs up to rounding; what cannot be converted is refused, as adapters with bias="all" are.
# Behaviour:   DoRA's lengths of the columns and the trained bias of lora_bias=True are left out. No error names them;
#              the only warning, which plain LoRA gets, too, says that the adapter is a LoRA adapter already.
# Output seen: LoRA: the adapter changes the outputs by up to 0.04, its conversion is off by 4e-07
#              DoRA: the adapter changes the outputs by up to 0.02, its conversion is off by 0.05
#              lora_bias: the adapter changes the outputs by up to 0.10, its conversion is off by 0.08
#              bias: refused
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy transformers==5.23.0 peft==0.21.2
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2> /dev/null
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model, save_as_lora
from transformers import BertConfig, BertModel

sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
ids = torch.tensor([[1, 2, 3, 4]])


def base():
    torch.manual_seed(0)
    return BertModel(BertConfig(vocab_size=30, **sizes)).eval()


@torch.no_grad()
def gaps(name, **options):
    """Returns how much an adapter changes the outputs, and by how much its conversion is off."""
    model = get_peft_model(base(), LoraConfig(r=4, target_modules=["query", "value"], **options)).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter += torch.randn_like(parameter) * 0.1
    save_as_lora(f"{sys.argv[1]}/{name}", model, rank=16)
    converted = PeftModel.from_pretrained(base(), f"{sys.argv[1]}/{name}").eval()
    outputs = [each(input_ids=ids).last_hidden_state for each in (base(), model, converted)]
    effect, error = ((outputs[1] - other).abs().max().item() for other in (outputs[0], outputs[2]))
    print(f"{name}: the adapter changes the outputs by up to {effect:.2f}, its conversion is off by {error:.1g}")
    return effect, error


_, rounding = gaps("LoRA")
others = gaps("DoRA", use_dora=True), gaps("lora_bias", lora_bias=True)
try:
    gaps("bias", bias="all")
    refused = False
except ValueError:
    print("bias: refused")
    refused = True
sys.exit(not (rounding < 1e-5 and all(error > 0.3 * effect for effect, error in others) and refused))
PYTHON
