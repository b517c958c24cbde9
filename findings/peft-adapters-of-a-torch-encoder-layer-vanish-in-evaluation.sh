#!/usr/bin/env bash
# PEFT: an adapter of the linear layers of torch's TransformerEncoderLayer trains, and has no effect in evaluation mode.
#
# Versions:    peft 0.21.2, torch 2.13.0, transformers 5.23.0, Python 3.11
# Expectation: after model.eval(), outputs have the adapter, as in training mode without dropout.
# Behaviour:   in evaluation mode the layer hands the weights of linear1 and linear2 to one fused kernel, and does not
#              call the layers, in which PEFT has the adapter; there is no warning. Frozen base weights meet the kernel's
#              conditions with autograd on, too.
# Output seen: training mode, largest change by the adapter above 0.01: True
#              evaluation mode, largest change by the adapter: 0.0
#              evaluation mode without the fused kernel, above 0.01: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet peft==0.21.2 transformers==5.23.0
cat > "$folder/run.py" <<'PYTHON'
import peft
import torch

torch.manual_seed(0)
encoder = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
settings = peft.LoraConfig(r=2, target_modules=["linear1", "linear2"], init_lora_weights=False)
model = peft.get_peft_model(torch.nn.Sequential(encoder), settings)
x = torch.randn(2, 3, 8)


def change():
    adapted = model(x)
    with model.disable_adapter():
        return float((adapted - model(x)).abs().max())


print("training mode, largest change by the adapter above 0.01:", change() > 0.01)
model.eval()
print("evaluation mode, largest change by the adapter:", change())
torch.backends.mha.set_fastpath_enabled(False)
print("evaluation mode without the fused kernel, above 0.01:", change() > 0.01)
PYTHON
"$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
grep -q "^training mode.*True" "$folder/seen"
grep -q "by the adapter: 0.0$" "$folder/seen"
grep -q "without the fused kernel.*True" "$folder/seen"
