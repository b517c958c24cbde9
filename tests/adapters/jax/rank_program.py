"""One of two processes of a mesh: loads its parts, computes with the other one, and prints what it read and found."""

import json
import re
import sys
from pathlib import Path

import jax
import keras
import numpy as np

import vertebra

PORT, NUMBER, FOLDER = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])


def resident(path):
    """Returns the bytes of a file's mappings that are in this process's memory."""
    text = Path("/proc/self/smaps").read_text()
    blocks = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", text)
    sizes = [re.search(r"Rss: +(\d+) kB", block)[1] for block in blocks if block.split("\n")[0].endswith(str(path))]
    return sum(map(int, sizes)) * 1024


def sums(backbone, names):
    weights = backbone.named_weights()
    total = jax.jit(lambda values: [abs(value).sum() for value in values])
    return [float(value) for value in total([weights[name].value for name in names])]


def main():
    jax.distributed.initialize(f"localhost:{PORT}", 2, NUMBER)
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("fsdp",))
    found = {}
    for format in ("native", "transformers"):
        preset = FOLDER / format
        backbone = vertebra.Backbone.from_preset(preset, mesh=mesh, dropout=0.0)
        found[f"sums {format}"] = sums(backbone, list(backbone.named_weights()))
        found[f"read {format}"] = resident(preset / "model.safetensors")
    inputs = {name: np.asarray(value) for name, value in backbone.sample_inputs().items()}
    outputs = vertebra.compile(backbone)(inputs)["sequence_output"]
    whole = jax.jit(lambda x: x, out_shardings=jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))(outputs)
    np.save(FOLDER / f"outputs_{NUMBER}.npy", np.asarray(whole))
    backbone.enable_lora(2, ["mlp.up"])
    found["adapter"] = [float(abs(variable.numpy()).sum()) for variable in backbone.trainable_weights]
    backbone.unload_lora()
    backbone.load_lora_weights(FOLDER / "adapter.safetensors")
    found["adapted"] = float(abs(vertebra.compile(backbone)(inputs)["sequence_output"]).sum())
    fresh = vertebra.Backbone.from_preset(FOLDER / "native", load_weights=False, mesh=mesh)
    found["fresh"] = sums(fresh, ["token_embedding/embeddings"])
    print(json.dumps(found))


if __name__ == "__main__":
    keras.utils.set_random_seed(NUMBER)
    main()
