#!/usr/bin/env bash
# Keras on JAX: attention in float16 computes on a CPU, but raises an error in a compiled function, as in `predict`.
#
# Versions:    keras 3.15.1, jax 0.10.2, Python 3.11
# Expectation: jax.jit compiles an operation that JAX computes without it; bfloat16 and float32 do.
# Behaviour:   keras.ops.dot_product_attention asks for sums of float16 products in float32 by an algorithm of
#              dot_general that XLA's compiler for CPUs does not have. A product of the same arrays by jnp.matmul with
#              preferred_element_type=float32 compiles.
# Output seen: float16: alone ok, compiled ValueError, matmul compiled ok
#              bfloat16: alone ok, compiled ok, matmul compiled ok
#              float32: alone ok, compiled ok, matmul compiled ok
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2
cat > "$folder/attend.py" <<'PYTHON'
import jax
import keras
import numpy as np
from jax import numpy as jnp


def attend(x):
    return keras.ops.dot_product_attention(x, x, x)


def product(x):
    return jnp.matmul(x, x.swapaxes(2, 3), preferred_element_type="float32")


def outcome(function, x):
    try:
        jax.block_until_ready(function(x))
    except Exception as error:
        return type(error).__name__
    return "ok"


for dtype in ("float16", "bfloat16", "float32"):
    x = jnp.asarray(np.ones((1, 4, 2, 8)), dtype)
    outcomes = outcome(attend, x), outcome(jax.jit(attend), x), outcome(jax.jit(product), x)
    print("{}: alone {}, compiled {}, matmul compiled {}".format(dtype, *outcomes))
PYTHON
KERAS_BACKEND=jax "$folder/venv/bin/python" "$folder/attend.py" 2> /dev/null | tee "$folder/seen"
grep -q "^float16: alone ok, compiled .*Error, matmul compiled ok$" "$folder/seen"
grep -q "^bfloat16: alone ok, compiled ok, matmul compiled ok$" "$folder/seen"
