#!/usr/bin/env bash
# torch.export: a program with a buffer that views an empty numpy array can be exported and saved, and not loaded.
#
# Versions:    torch 2.13.0, numpy 2, Python 3.11
# Expectation: a tensor without elements is as good from numpy as from torch.zeros.
# Behaviour:   numpy gives arrays without elements strides of 0, torch.from_numpy takes them over, and
#              the .pt2 file does not make the round trip: RuntimeError.
# Output seen: torch.zeros: strides (1, 1), ok
#              torch.from_numpy: strides (0, 0), RuntimeError: numel: integer multiplication overflow
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 "numpy>=2,<3"
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2> /dev/null
import sys

import numpy as np
import torch


class Program(torch.nn.Module):
    def __init__(self, empty):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)
        self.register_buffer("empty", empty)

    def forward(self, x):
        return self.linear(x)


def round_trip(empty):
    path = f"{sys.argv[1]}/program.pt2"
    try:
        torch.export.save(torch.export.export(Program(empty), (torch.ones(1, 2),)), path)
        torch.export.load(path)
    except RuntimeError as error:
        return f"RuntimeError: {str(error).splitlines()[0]}"
    return "ok"


own, theirs = torch.zeros(3, 0), torch.from_numpy(np.zeros((3, 0), "float32"))
seen = [round_trip(own), round_trip(theirs)]
print(f"torch.zeros: strides {own.stride()}, {seen[0]}")
print(f"torch.from_numpy: strides {theirs.stride()}, {seen[1]}")
sys.exit(not (seen[0] == "ok" and seen[1].startswith("RuntimeError: numel")))
PYTHON
