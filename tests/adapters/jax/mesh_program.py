"""Compares divided backbones with undivided ones, on eight virtual devices of JAX; prints a JSON of failures.

A program of its own, as JAX makes its devices once in a process; one for all cases, as each would import Keras again.
"""

import json
import sys
import traceback

import jax
import keras
import numpy as np
from jax.sharding import Mesh

import vertebra

SIZES = {"vocabulary_size": 64, "num_layers": 1, "hidden_dim": 32, "intermediate_dim": 48, "dropout": 0.0}
BACKBONES = {
    "BertBackbone": SIZES | {"num_heads": 4},
    "GPT2Backbone": SIZES | {"num_heads": 4},
    "GemmaBackbone": SIZES | {"num_query_heads": 8, "num_key_value_heads": 4, "head_dim": 8},
}
MESHES = {
    "1x2": ((1, 2), ("data", "model")),
    "2x1": ((2, 1), ("fsdp", "model")),
    "2x2": ((2, 2), ("fsdp", "model")),
    "2x4": ((2, 4), ("fsdp", "model")),
    "2x2 data": ((2, 2), ("data", "model")),
}
FORMATS = ("native", "transformers", "kerashub")
TOLERANCE = 1e-5


def mesh_of(shape, names):
    return Mesh(np.array(jax.devices()[: int(np.prod(shape))]).reshape(shape), names)


def close(found, expected, subject):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        one, other = np.asarray(one, "float32"), np.asarray(other, "float32")
        gap = np.abs(one - other).max(initial=0) / max(1, np.abs(other).max(initial=0))
        assert gap <= TOLERANCE, f"{subject} differ by {gap:.2g}"


def step(backbone, inputs):
    """Returns outputs, gradients of all weights, and the adapter after a step of gradient descent."""
    variables = [variable for variable in backbone.variables if "float" in str(variable.dtype)]
    adapter = {id(variable) for variable in backbone.trainable_weights}

    @jax.jit
    def computed(values, inputs):
        def loss(values):
            with keras.StatelessScope(zip(variables, values, strict=True)):
                outputs = jax.tree.leaves(backbone(inputs, training=False))
            return sum((output**2).mean() for output in outputs), outputs

        (_, outputs), gradients = jax.value_and_grad(loss, has_aux=True)(values)
        stepped = [value - 0.1 * gradient for value, gradient in zip(values, gradients, strict=True)]
        return outputs, gradients, [new for new, v in zip(stepped, variables, strict=True) if id(v) in adapter]

    return computed([variable.value for variable in variables], inputs)


def enabled(backbone, values=None):
    backbone.enable_lora(2, ["attention", "mlp"], seed=0)
    random = np.random.default_rng(0)
    for variable in backbone.trainable_weights:
        variable.assign(random.normal(size=variable.shape).astype("float32") / 4)


def inputs_of(backbone):
    sample = backbone.sample_inputs()
    return {name: np.tile(np.asarray(value), (2, 1)) for name, value in sample.items()}


def check_steps(folder, name, whole, expected, number, label):
    mesh, preset = mesh_of(*MESHES[label]), f"{folder}/{name}/{FORMATS[number % 3]}"
    divided = vertebra.Backbone.from_preset(preset, mesh=mesh, dropout=0.0)
    parts = [w.parts(divided.placement.sizes) for w in divided.placement.weights.values()]
    assert any(max(part) > 1 for part in parts)
    for weight, variable in divided.named_weights().items():
        share = divided.placement.weights[weight].share(divided.placement.sizes)
        assert {shard.data.shape for shard in variable.value.addressable_shards} == {share}, weight
    enabled(divided)
    found = step(divided, inputs_of(divided))
    for subject, one, other in zip(("outputs", "gradients", "adapters"), found, expected, strict=True):
        close(one, other, f"{subject} of {preset}")


def check_quantized(folder, mode):
    whole = vertebra.Backbone.from_preset(f"{folder}/GemmaBackbone/native")
    whole.quantize(mode)
    whole.save_to_preset(f"{folder}/{mode}", certificate=False)
    divided = vertebra.Backbone.from_preset(f"{folder}/{mode}", mesh=mesh_of(*MESHES["2x2"]))
    kernel = divided.placement.weights["decoder_block_0/ffw_gating/kernel"]
    assert kernel.divided == (("fsdp",), ("model",)), kernel
    inputs = inputs_of(whole)
    close(vertebra.compile(divided)(inputs), vertebra.compile(whole)(inputs), mode)


def check_fit(folder):
    targets, losses, kernels = np.ones((4, 1), "float32"), [], []
    for mesh in (None, mesh_of(*MESHES["2x2"])):
        backbone = vertebra.Backbone.from_preset(f"{folder}/BertBackbone/native", mesh=mesh)
        head = keras.layers.Dense(1, kernel_initializer="ones")
        model = keras.Model(backbone.inputs, head(backbone.output["pooled_output"]))
        model.compile(keras.optimizers.Adam(1e-3), "mse")
        losses.append(model.fit(inputs_of(backbone), targets, batch_size=2, epochs=2, shuffle=False, verbose=0))
        kernels.append(backbone.named_weights()["transformer_layer_0/feedforward_output_dense/kernel"].value)
    close(losses[1].history["loss"], losses[0].history["loss"], "losses")
    share = {shard.data.shape for shard in kernels[1].addressable_shards}
    assert share == {(24, 16)}, share
    moments = [v for v in model.optimizer.variables if tuple(v.shape) == (48, 32)]
    assert moments
    assert {shard.data.shape for v in moments for shard in v.value.addressable_shards} >= share


def check_random(folder):
    """Weights that no checkpoint has, and a mesh of Keras."""
    mesh = keras.distribution.DeviceMesh((2, 2), ("batch", "model"), keras.distribution.list_devices()[:4])
    keras.utils.set_random_seed(3)
    whole = vertebra.Backbone.from_preset(f"{folder}/BertBackbone/native", load_weights=False)
    keras.utils.set_random_seed(3)
    divided = vertebra.Backbone.from_preset(f"{folder}/BertBackbone/native", load_weights=False, mesh=mesh)
    values = [[v.value for v in backbone.named_weights().values()] for backbone in (divided, whole)]
    close(*values, "random weights")
    assert divided.mesh is mesh
    assert vertebra.Backbone.from_preset(f"{folder}/BertBackbone/native").placement is None


def check_adapters(folder):
    """An adapter that was trained divided is saved, and equal on an undivided backbone."""
    divided = vertebra.Backbone.from_preset(f"{folder}/GPT2Backbone/native", mesh=mesh_of(*MESHES["2x4"]))
    enabled(divided)
    divided.save_lora_weights(f"{folder}/adapter.safetensors")
    whole = vertebra.Backbone.from_preset(f"{folder}/GPT2Backbone/native")
    again = vertebra.Backbone.from_preset(f"{folder}/GPT2Backbone/native", mesh=mesh_of(*MESHES["2x4"]))
    for backbone in (whole, again):
        backbone.load_lora_weights(f"{folder}/adapter.safetensors")
    inputs = inputs_of(whole)
    expected = vertebra.compile(divided)(inputs)
    close(vertebra.compile(whole)(inputs), expected, "outputs of the undivided backbone")
    close(vertebra.compile(again)(inputs), expected, "outputs of the other divided backbone")


def cases(folder):
    for name, arguments in BACKBONES.items():
        keras.utils.set_random_seed(1)
        whole = getattr(vertebra.models, name)(**arguments)
        for format in FORMATS:
            whole.save_to_preset(f"{folder}/{name}/{format}", format=format, certificate=False)
        enabled(whole)
        expected = step(whole, inputs_of(whole))
        for number, label in enumerate(MESHES if name == "GemmaBackbone" else list(MESHES)[:-1]):
            yield f"{name} {label}", check_steps, (folder, name, whole, expected, number, label)
    yield "int8", check_quantized, (folder, "int8")
    yield "int4", check_quantized, (folder, "int4")
    yield "fit", check_fit, (folder,)
    yield "random", check_random, (folder,)
    yield "adapters", check_adapters, (folder,)


def main(folder):
    failures = {}
    for name, check, arguments in cases(folder):
        try:
            check(*arguments)
            failures[name] = None
        except Exception:
            failures[name] = traceback.format_exc()
    print(json.dumps(failures))


if __name__ == "__main__":
    main(sys.argv[1])
