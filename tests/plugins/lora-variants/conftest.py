"""Fixtures for tests of LoRA strategies: small models with one adapted layer, and their outputs."""

import json

import pytest

KINDS = {
    "dense": ("Dense", {"units": 5, "activation": "tanh"}, (6, 8)),
    "einsum_split": ("EinsumDense", {"equation": "abc,cde->abde", "output_shape": (None, 2, 4)}, (6, 8)),
    "einsum_join": ("EinsumDense", {"equation": "abde,dec->abc", "output_shape": (None, 6)}, (6, 2, 4)),
    "embedding": ("Embedding", {"input_dim": 9, "output_dim": 8}, (6,)),
    "conv1d": ("Conv1D", {"filters": 5, "kernel_size": 3, "dilation_rate": 2, "padding": "causal"}, (6, 8)),
    "conv2d": ("Conv2D", {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same"}, (7, 8, 3)),
    "conv2d_first": ("Conv2D", {"filters": 5, "kernel_size": 3, "data_format": "channels_first"}, (3, 7, 8)),
}
"""Class, arguments and shape of the inputs of each kind of layer."""


@pytest.fixture(scope="session")
def single():
    """Builds a model of one layer, `target`, with a nonzero bias, and inputs for it."""
    import keras
    import numpy as np

    def build(kind="dense", dtype="float32", **changes):
        name, arguments, shape = KINDS[kind]
        draws = np.random.default_rng(0)
        lookup = kind == "embedding"
        inputs = keras.Input(shape, dtype="int32" if lookup else "float32")
        layer = getattr(keras.layers, name)(**arguments | changes, dtype=dtype, name="target")
        model = keras.Model(inputs, layer(inputs))
        for variable in model.weights:
            variable.assign(draws.normal(size=variable.shape) * 0.3)
        rows = (4, *shape)
        return model, draws.integers(0, 9, rows) if lookup else draws.normal(size=rows).astype("float32")

    return build


@pytest.fixture(scope="session")
def call():
    """Calls a model for inference and returns its outputs as an array of float32, and their dtype."""
    import keras

    def outputs(model, inputs):
        found = model(inputs, training=False)
        return keras.ops.convert_to_numpy(keras.ops.cast(found, "float32")), keras.backend.standardize_dtype(
            found.dtype
        )

    return outputs


@pytest.fixture(scope="session")
def adapter_layers():
    """Returns the adapter layers of the one active adapter, by path."""
    from vertebra._lora.state import adapters_of

    def found(model):
        (name,) = adapters_of(model).active
        return adapters_of(model).layers_of(name).layers

    return found


@pytest.fixture(scope="session")
def adapter_layer(adapter_layers):
    """Returns the adapter layer of the one adapted layer of a model."""

    def found(model):
        (only,) = adapter_layers(model).values()
        return only

    return found


@pytest.fixture(scope="session")
def disturb():
    """Changes all trainable values from their initial values, as training would."""
    import numpy as np

    def move(model, seed=0):
        draws = np.random.default_rng(seed)
        for variable in model.trainable_weights:
            variable.assign(variable.numpy() + draws.normal(size=variable.shape).astype("float32") * 0.3)

    return move


@pytest.fixture(scope="session")
def edit_config():
    """Changes fields of PEFT's config in a folder; `...` removes one."""

    def edit(folder, changes):
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({name: value for name, value in config.items() if value is not ...}))

    return edit
