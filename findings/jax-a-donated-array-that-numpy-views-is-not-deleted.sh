#!/usr/bin/env bash
# JAX on a processor: an array that is donated to a computation stays alive, without a warning, if NumPy views it.
#
# Versions:    jax 0.10.2 (CPU), numpy 2, Python 3.11
# Expectation: after `jit(f, donate_argnums=0)(x)`, x is deleted whether or not something views it, or a warning says
#              that it could not be donated, as JAX warns of donated arrays that it cannot use.
# Behaviour:   without a view, x is deleted; with one, from `numpy.asarray(x)`, x is not deleted, keeps its values, and
#              the result has other memory. No warning is given. So a step needs memory for both.
# Output seen: without a view deleted: True
#              with a view not deleted: True
#              values kept: True
#              no warning: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 'numpy>=2'
cat > "$folder/run.py" <<'PYTHON'
import warnings

import jax
import numpy as np

step = jax.jit(lambda x: x + 1, donate_argnums=0)
values = np.arange(2**16, dtype="float32").reshape(256, 256).T
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    alone = jax.block_until_ready(jax.device_put(values))
    step(alone)
    viewed = jax.block_until_ready(jax.device_put(values))
    view = np.asarray(viewed)
    step(viewed).block_until_ready()
print("without a view deleted:", alone.is_deleted())
print("with a view not deleted:", not viewed.is_deleted())
print("values kept:", bool(np.array_equal(view, values)))
print("no warning:", not seen)
PYTHON
JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
test "$(grep -c ': True$' "$folder/seen")" = 4
