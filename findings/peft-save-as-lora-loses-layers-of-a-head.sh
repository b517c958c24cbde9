#!/usr/bin/env bash
# PEFT: save_as_lora loses trained layers of a classification head, and the adapter that it writes cannot be loaded.
#
# Versions:    peft 0.21.2, transformers 5.23.0, torch 2.13.0, safetensors 0.8.0, Python 3.11
# Expectation: a SEQ_CLS adapter of RoBERTa has a trained head of two layers, `dense` and `out_proj`. save_as_lora says
#              that it converts the adapter and its modules_to_save; save_pretrained writes all four tensors.
# Behaviour:   of the names of parameters within the head only the last part is kept, so both layers are written as
#              `classifier.weight` and `classifier.bias`, and the second one replaces the first. The weights of `dense`
#              are in no file, no warning is given, and PEFT itself cannot load the result.
# Output seen: save_pretrained: ['dense.bias', 'dense.weight', 'out_proj.bias', 'out_proj.weight']
#              save_as_lora: ['bias', 'weight']; warnings: []
#              loading it: KeyError: 'base_model.model.classifier.dense.weight'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy transformers==5.23.0 peft==0.21.2 safetensors==0.8.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2> /dev/null
import sys
import warnings

from peft import LoHaConfig, PeftModel, get_peft_model, save_as_lora
from safetensors.torch import load_file
from transformers import RobertaConfig, RobertaForSequenceClassification

sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
plain, converted = f"{sys.argv[1]}/plain", f"{sys.argv[1]}/converted"
HEAD = "base_model.model.classifier."


def base():
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return RobertaForSequenceClassification(RobertaConfig(vocab_size=30, **sizes, **ids))


def head(path):
    names = load_file(f"{path}/adapter_model.safetensors")
    return sorted(name.removeprefix(HEAD) for name in names if name.startswith(HEAD))


model = get_peft_model(base(), LoHaConfig(r=4, target_modules=["query", "value"], task_type="SEQ_CLS"))
model.save_pretrained(plain)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    save_as_lora(converted, model, rank=16)
print("save_pretrained:", head(plain))
print("save_as_lora:", head(converted), end="; ")
print("warnings:", [str(warning.message) for warning in caught])
PeftModel.from_pretrained(base(), plain)
try:
    PeftModel.from_pretrained(base(), converted)
except KeyError as error:
    print(f"loading it: KeyError: {error}")
    sys.exit(not (len(head(plain)) == 4 and len(head(converted)) == 2 and not caught and "dense" in str(error)))
print("it loads: the behaviour has changed")
sys.exit(1)
PYTHON
