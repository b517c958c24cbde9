"""KerasHub as a child process: loads presets and computes, or makes presets."""

import keras
import keras_hub
import numpy as np
from serving import serve


def load(folder, inputs):
    """Loads a preset in float32; returns its outputs and its config."""
    backbone = keras_hub.models.Backbone.from_preset(folder, dtype="float32")
    return {"outputs": compute(backbone, inputs), "config": backbone.get_config()}


def create(folder, inputs, model, config, dtype="float32", max_shard_size=10):
    """Saves a backbone with random weights; returns its outputs, computed in float32."""
    kind = getattr(keras_hub.models, model)
    made, twin = kind(**config, dtype=dtype), kind(**config, dtype="float32")
    draws = np.random.default_rng(0)
    for variable, copy in zip(made.weights, twin.weights, strict=True):
        start = 1 if variable.path.endswith("gamma") else 0
        variable.assign(start + 0.2 * draws.standard_normal(variable.shape))
        copy.assign(keras.ops.cast(variable, "float32"))
    made.save_to_preset(folder, max_shard_size=max_shard_size)
    return {"outputs": compute(twin, inputs)}


def compute(backbone, inputs):
    outputs = backbone({name: np.array(values, "int32") for name, values in inputs.items()}, training=False)
    if not isinstance(outputs, dict):
        outputs = {"sequence_output": outputs, "logits": backbone.token_embedding(outputs, reverse=True)}
    return {name: keras.ops.convert_to_numpy(array).tolist() for name, array in outputs.items()}


if __name__ == "__main__":
    serve(load=load, create=create)
