#!/usr/bin/env bash
# torch: on processors without instructions for bfloat16, a product takes many times as long for one layout of the weight.
#
# Versions:    torch 2.13.0 (CPU), Python 3.11; oneDNN and torch kept to AVX2, as on processors that have no more
# Expectation: x @ w takes about the same time whether w is stored by rows or by columns, as it does in float32; and a
#              product in bfloat16 is not slower than to convert both factors to float32, multiply, and round.
# Behaviour:   with w stored by rows, (inputs, outputs), it takes over 4 times as long as with w stored by columns, and
#              with either over 2 times as long as converting, multiplying and rounding; the values agree.
# Output seen: by rows above 4 times by columns: True
#              by columns above 2 times widened: True
#              same values: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy
cat > "$folder/run.py" <<'PYTHON'
import time

import torch

torch.set_num_threads(1)
x, w = torch.randn(64, 768).bfloat16(), torch.randn(768, 3072).bfloat16()
columns = w.t().contiguous().t()


def seconds(function):
    times = []
    for _ in range(4):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


rows = seconds(lambda: x @ w)
other = seconds(lambda: x @ columns)
widened = seconds(lambda: (x.float() @ w.float()).bfloat16())
print("by rows above 4 times by columns:", rows > 4 * other)
print("by columns above 2 times widened:", other > 2 * widened)
print("same values:", torch.allclose(x @ w, (x.float() @ w.float()).bfloat16(), rtol=0.02, atol=0.5))
print("ms:", *(round(1000 * t, 1) for t in (rows, other, widened)))
PYTHON
ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 "$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
test "$(grep -c ': True$' "$folder/seen")" = 3
