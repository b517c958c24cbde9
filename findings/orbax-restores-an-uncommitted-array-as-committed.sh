#!/usr/bin/env bash
# orbax: an array of JAX that was on no particular device is restored on the first one, and meets no others any more.
#
# Versions:    orbax-checkpoint 0.12.8, jax 0.10.2, Python 3.11
# Expectation: restoring with to_shape_dtype_struct of the saved array gives an array that can be used as the saved one:
#              jnp.ones is not committed to a device, so that a compiled function takes it together with arrays that are
#              divided among several devices.
# Behaviour:   the restored array is committed to device 0, and the same call fails after a restart: "incompatible
#              devices". A ShapeDtypeStruct with the wanted sharding restores it to all devices.
# Output seen: saved: committed False, with a divided array 8.0
#              restored: committed True, with a divided array ValueError
#              restored with a sharding: committed True, with a divided array 8.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet orbax-checkpoint==0.12.8 jax==0.10.2
cat > "$folder/restore.py" <<'PYTHON'
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint
from jax import numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

mesh = Mesh(np.array(jax.devices()), ("model",))
divided = jax.device_put(jnp.ones(4), NamedSharding(mesh, PartitionSpec("model")))
add = jax.jit(lambda first, second: (first + second).sum())


def tell(title, array):
    try:
        result = float(add(divided, array))
    except ValueError as error:
        result = type(error).__name__
    print(f"{title}: committed {array.committed}, with a divided array {result}")


saved, folder = jnp.ones(4), Path(sys.argv[1])
checkpointer = orbax.checkpoint.StandardCheckpointer()
checkpointer.save(folder, {"factor": saved})
checkpointer.wait_until_finished()
like = orbax.checkpoint.utils.to_shape_dtype_struct(saved)
whole = jax.ShapeDtypeStruct(saved.shape, saved.dtype, sharding=NamedSharding(mesh, PartitionSpec()))
tell("saved", saved)
tell("restored", checkpointer.restore(folder, {"factor": like})["factor"])
tell("restored with a sharding", checkpointer.restore(folder, {"factor": whole})["factor"])
PYTHON
export XLA_FLAGS=--xla_force_host_platform_device_count=2
"$folder/venv/bin/python" "$folder/restore.py" "$folder/step" 2> /dev/null | tee "$folder/seen"
grep -q "^saved: committed False, with a divided array 8.0$" "$folder/seen"
grep -q "^restored: committed True, with a divided array ValueError$" "$folder/seen"
grep -q "^restored with a sharding: committed True, with a divided array 8.0$" "$folder/seen"
