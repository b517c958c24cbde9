#!/usr/bin/env bash
# Keras on torch: a dense layer that is quantised in int8 takes twice the time of the layer in float32 on a processor.
#
# Versions:    keras 3.15.1, torch 2.13.0 (CPU), Python 3.11; oneDNN and torch kept to AVX2
# Expectation: weights of a quarter of the size make a layer faster, or at least not slower; and a library multiplies
#              integers of 8 bits by its fastest way to the same sums.
# Behaviour:   Keras multiplies int32 copies of rows and weight, for which torch has no fast kernel. The product of
#              float32 copies has the same bits (sums of up to 1,040 such products are exact), in less than 1/1.5 of
#              the time.
# Output seen: int8 above 1.7 times float32: True
#              int32 copies above 1.5 times float32 copies: True
#              same bits: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 keras==3.15.1 numpy
cat > "$folder/run.py" <<'PYTHON'
import time

import keras
import numpy as np
import torch

torch.set_num_threads(1)
layer = keras.layers.Dense(3072)
layer.build((None, 768))
rows = torch.from_numpy(np.random.default_rng(0).normal(size=(128, 768)).astype("float32"))


def seconds(function):
    times = []
    for _ in range(7):
        start = time.perf_counter()
        with torch.no_grad():
            function()
        times.append(time.perf_counter() - start)
    return min(times)


exact = seconds(lambda: layer(rows))
layer.quantize("int8")
quantised = seconds(lambda: layer(rows))
integers, _ = keras.quantizers.abs_max_quantize(rows, axis=-1)
weight = keras.ops.convert_to_tensor(layer._kernel)
by_int32 = seconds(lambda: integers.int() @ weight.int())
by_float = seconds(lambda: integers.float() @ weight.float())
print("int8 above 1.7 times float32:", quantised > 1.7 * exact)
print("int32 copies above 1.5 times float32 copies:", by_int32 > 1.5 * by_float)
print("same bits:", torch.equal((integers.int() @ weight.int()).float(), integers.float() @ weight.float()))
print("ms:", *(round(1000 * t, 1) for t in (exact, quantised, by_int32, by_float)))
PYTHON
KERAS_BACKEND=torch ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 "$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
test "$(grep -c ': True$' "$folder/seen")" = 3
