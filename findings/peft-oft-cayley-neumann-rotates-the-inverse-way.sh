#!/usr/bin/env bash
# PEFT: OFT with use_cayley_neumann=True rotates by the inverse of what it computes with False.
#
# Versions:    peft 0.21.2, transformers 5.23.0, torch 2.13.0, Python 3.11
# Expectation: the documentation calls True an efficient approximation and False the exact parameterization, and advises
#              to test both. So one set of weights gives almost the same rotation, the closer the more terms are summed.
# Behaviour:   the series sums (I + Q)(I - Q)^-1, and the exact form solves (I - Q)(I + Q)^-1: the one rotation is the
#              transpose of the other. An adapter whose flag is changed undoes what it learnt.
# Output seen: rotation R: |R - I| = 0.74; |R - exact| = 1.5; |R - exact^T| = 2e-07; |R exact - I| = 3e-07
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
from peft import OFTConfig, PeftModel, get_peft_model

path = f"{sys.argv[1]}/adapter"


def base():
    """One layer that returns its input, so that an adapted model returns the rows of its rotation."""
    layer = torch.nn.Linear(8, 8, bias=False)
    layer.weight.data = torch.eye(8)
    return torch.nn.Sequential(layer)


@torch.no_grad()
def rotation():
    return PeftModel.from_pretrained(base(), path).eval()(torch.eye(8))


torch.manual_seed(0)
settings = {"use_cayley_neumann": True, "num_cayley_neumann_terms": 12}
model = get_peft_model(base(), OFTConfig(oft_block_size=8, target_modules=["0"], **settings))
for parameter in model.parameters():
    if parameter.requires_grad:
        parameter.data = torch.randn_like(parameter) * 0.05
model.save_pretrained(path)
series = rotation()
config = Path(path, "adapter_config.json")
config.write_text(json.dumps(json.loads(config.read_text()) | {"use_cayley_neumann": False}))
exact = rotation()
identity = torch.eye(8)
pairs = [(series, identity), (series, exact), (series, exact.T), (series @ exact, identity)]
size, apart, transposed, product = (torch.dist(*pair).item() for pair in pairs)
print(f"rotation R: |R - I| = {size:.2f}; |R - exact| = {apart:.1f}; ", end="")
print(f"|R - exact^T| = {transposed:.0e}; |R exact - I| = {product:.0e}")
sys.exit(not (apart > size > 0.1 and transposed < 1e-4 and product < 1e-4))
PYTHON
