#!/usr/bin/env bash
# Keras on JAX: a table that is divided along an axis of jax.make_mesh cannot be looked up, along one of Mesh it can.
#
# Versions:    keras 3.15.1, jax 0.10.2, Python 3.11
# Expectation: jax.make_mesh((2,), ("model",)) and Mesh(devices, ("model",)) are the same devices in the same order with
#              the same name, so that a layer computes with weights that are divided along either.
# Behaviour:   jax.make_mesh makes axes of type Explicit, Mesh of type Auto. With Explicit axes, the types of arrays have
#              their sharding, and an operation whose result has no unique one must be told; Keras's operations are
#              not. Dense works with both, Embedding with Auto axes only.
# Output seen: jax.make_mesh: axes Explicit; Dense: same outputs; Embedding: ShardingTypeError
#              Mesh: axes Auto; Dense: same outputs; Embedding: same outputs
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2
cat > "$folder/axes.py" <<'PYTHON'
import jax
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

embedding, dense = keras.layers.Embedding(8, 4), keras.layers.Dense(6)
embedding.build(())
dense.build((None, 4))
ids, states = np.arange(6).reshape(2, 3), np.ones((2, 4), "float32")


def outcome(layer, variable, inputs, mesh):
    whole, expected = np.asarray(variable.value), np.asarray(layer(inputs))
    variable.assign(jax.device_put(whole, NamedSharding(mesh, PartitionSpec("model", None))))
    try:
        return "same outputs" if np.allclose(np.asarray(layer(inputs)), expected, atol=1e-6) else "other outputs"
    except Exception as error:
        return type(error).__name__
    finally:
        variable.assign(jax.device_put(whole, jax.devices()[0]))


for name, mesh in {
    "jax.make_mesh": jax.make_mesh((2,), ("model",)),
    "Mesh": Mesh(np.array(jax.devices()), ("model",)),
}.items():
    found = [outcome(dense, dense.kernel, states, mesh), outcome(embedding, embedding.embeddings, ids, mesh)]
    print(f"{name}: axes {mesh.axis_types[0].name}; Dense: {found[0]}; Embedding: {found[1]}")
PYTHON
export KERAS_BACKEND=jax XLA_FLAGS=--xla_force_host_platform_device_count=2
"$folder/venv/bin/python" "$folder/axes.py" 2> /dev/null | tee "$folder/seen"
grep -q "^jax.make_mesh: axes Explicit; Dense: same outputs; Embedding: ShardingTypeError$" "$folder/seen"
grep -q "^Mesh: axes Auto; Dense: same outputs; Embedding: same outputs$" "$folder/seen"
