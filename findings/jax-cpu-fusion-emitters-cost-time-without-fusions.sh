#!/usr/bin/env bash
# JAX: on CPUs, most of the time of compiling single operations goes to XLA's fusion emitters, which have nothing to fuse.
#
# Versions:    jax 0.10.2, Python 3.11
# Expectation: an option for fusions matters for functions that have some, and hardly for operations that run one by one,
#              without jax.jit, as in a notebook.
# Behaviour:   with --xla_cpu_use_fusion_emitters=false the first runs of many single operations take clearly less
#              processor time; the numbers are the same.
# Output seen: same numbers: True
#              processor time with fusion emitters above 1.3 times that without: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2
cat > "$folder/run.py" <<'PYTHON'
import time

from jax import numpy as jnp

jnp.ones(3).block_until_ready()
start, total = time.process_time(), 0.0
for size in range(2, 42):
    x = jnp.linspace(-1, 1, size * 3).reshape(size, 3)
    for function in (jnp.tanh, jnp.exp, jnp.square, lambda x: x.sum(axis=0), lambda x: x - x.mean(), lambda x: x.T @ x):
        total += float(function(x)[0].sum())
print(round(time.process_time() - start, 2), round(total, 3))
PYTHON
for _ in 1 2 3; do
    "$folder/venv/bin/python" "$folder/run.py" >> "$folder/with"
    XLA_FLAGS=--xla_cpu_use_fusion_emitters=false "$folder/venv/bin/python" "$folder/run.py" >> "$folder/without"
done
"$folder/venv/bin/python" - "$folder/with" "$folder/without" <<'PYTHON' | tee "$folder/seen"
import statistics
import sys

(first, numbers), (second, others) = (
    zip(*(map(float, line.split()) for line in open(path)), strict=True) for path in sys.argv[1:]
)
ratio = statistics.median(first) / statistics.median(second)
print("same numbers:", abs(numbers[0] - others[0]) < 1e-2)
print("processor time with fusion emitters above 1.3 times that without:", ratio > 1.3)
print("ratio:", round(ratio, 1))
PYTHON
grep -q "^same numbers: True" "$folder/seen"
grep -q "without: True" "$folder/seen"
