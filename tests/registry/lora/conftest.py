"""Fixtures for LoRA tests: a custom backbone, adapters, and their expected outputs."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def toy_class():
    """A backbone that no plugin registered: attention of `EinsumDense` layers, as in KerasHub."""
    import keras
    from keras import ops

    import vertebra

    class Attention(keras.layers.Layer):
        def __init__(self, width, heads, dtype=None, **kwargs):
            super().__init__(dtype=dtype, **kwargs)
            split = {"output_shape": (None, heads, width // heads), "bias_axes": "de", "dtype": dtype}
            self.query = keras.layers.EinsumDense("abc,cde->abde", name="query", **split)
            self.value = keras.layers.EinsumDense("abc,cde->abde", name="value", **split)
            self.output_dense = keras.layers.EinsumDense(
                "abde,dec->abc", output_shape=(None, width), bias_axes="c", dtype=dtype, name="attention_output"
            )

        def build(self, shape):
            self.query.build(shape)
            self.value.build(shape)
            self.output_dense.build(self.query.compute_output_shape(shape))

        def call(self, x):
            query, value = self.query(x), self.value(x)
            scores = ops.softmax(ops.einsum("abde,acde->adbc", query, value))
            return self.output_dense(ops.einsum("adbc,acde->abde", scores, value))

    class ToyBackbone(vertebra.Backbone):
        def __init__(self, vocabulary_size: int = 11, width: int = 8, heads: int = 2, dtype=None, **kwargs):
            inputs = keras.Input((None,), dtype="int32", name="token_ids")
            embedding = keras.layers.ReversibleEmbedding(vocabulary_size, width, dtype=dtype, name="token_embedding")
            x = Attention(width, heads, dtype=dtype, name="attention")(embedding(inputs))
            x = keras.layers.Dense(width, activation="tanh", dtype=dtype, name="dense")(x)
            super().__init__(inputs, x, dtype=dtype, **kwargs)
            self.token_embedding = embedding
            self.vocabulary_size, self.width, self.heads = vocabulary_size, width, heads

        def get_config(self):
            return super().get_config() | {
                "vocabulary_size": self.vocabulary_size,
                "width": self.width,
                "heads": self.heads,
            }

    return ToyBackbone


@pytest.fixture(scope="session")
def ids():
    """Token ids of shape (2, 5), for the toy backbone."""
    import numpy as np

    return np.arange(10).reshape(2, 5) % 11


@pytest.fixture(scope="session")
def adapters():
    """Returns the adapter layers of the one active adapter of a backbone, by path of the adapted layer."""
    from vertebra._lora.state import adapters_of

    def adapter_layers(backbone):
        (name,) = adapters_of(backbone).active
        return adapters_of(backbone).layers_of(name).layers

    return adapter_layers


@pytest.fixture(scope="session")
def fill(adapters):
    """Gives every adapter layer of the active adapter nonzero values, as training would, reproducible by seed."""
    import numpy as np

    def randomise(backbone, seed=0):
        random = np.random.default_rng(seed)
        for adapter_layer in adapters(backbone).values():
            for variable in adapter_layer.own().values():
                if variable.trainable:
                    variable.assign(random.normal(size=variable.shape) * 0.3)

    return randomise


@pytest.fixture
def plain(golden):
    """The reference BERT without adapters."""
    import vertebra

    return vertebra.Backbone.from_preset(golden / "transformers")


@pytest.fixture
def randomise():
    """Gives an active adapter random values, reproducible by seed."""
    import numpy as np

    from vertebra._lora.state import adapters_of

    def fill(model, name, seed):
        random = np.random.default_rng(seed)
        for variable in adapters_of(model).layers_of(name).flat():
            if variable.trainable:
                variable.assign(random.normal(size=variable.shape) * 0.3)

    return fill


@pytest.fixture
def several(plain, run, randomise):
    """A backbone with adapters `a` and `b` of the same settings and `c` of other settings, and the outputs of each."""
    outputs = {None: run(plain)}
    for seed, (name, settings) in enumerate({"a": {}, "b": {}, "c": {"target_names": ["mlp"], "alpha": 3}}.items()):
        plain.enable_lora(4, name=name, **settings)
        randomise(plain, name, seed)
        outputs[name] = run(plain)
    return plain, outputs


@pytest.fixture(scope="session")
def state(values, run):
    """Returns everything that an adapter could change in a backbone: values, trainable flags, layers and outputs."""

    def snapshot(backbone, inputs=None):
        outputs = {} if inputs is None else run(backbone, inputs)
        arrays = values(backbone) | (outputs if isinstance(outputs, dict) else {"output": outputs})
        bits = {name: array.tobytes() for name, array in arrays.items()}
        trained = [variable.path for variable in backbone.trainable_weights]
        return bits, trained, backbone.trainable, backbone.get_config(), layers_of(backbone), shelf_of(backbone)

    return snapshot


def layers_of(model):
    """Returns everything that an adapter could change in each layer: sublayers, wrapped methods, trainable flags."""
    wrapped = {"call", "quantized_call", "get_config"}
    return [
        (layer.name, layer.trainable, getattr(layer, "activation", None), sorted(wrapped & vars(layer).keys()))
        for layer in model._flatten_layers()
    ]


def shelf_of(model):
    """Returns the values of every adapter of a model, and the names of the active ones."""
    from vertebra._lora.state import adapters_of

    def bits(table):
        return {name: array.tobytes() for name, array in table.items()}

    def facts(name):
        adapter, values = found.known[name], found.values_of(name)
        own = {path: bits(table) for path, table in values.items()}
        return own, bits(found.co_trained_of(name)), adapter.plan.key(), adapter.base

    found = adapters_of(model)
    return None if found is None else (found.active, {name: facts(name) for name in found.known})


@pytest.fixture
def install_strategy():
    """Registers LoRA strategies, as a plugin would, until the test ends."""
    import types

    import vertebra

    added = []

    def install(strategy):
        hook = vertebra.hookimpl(specname="vertebra_lora_strategies")(lambda: [strategy])
        vertebra.add_plugin(types.SimpleNamespace(strategies=hook), f"strategy-{strategy.name}")
        added.append(f"strategy-{strategy.name}")

    yield install
    for name in added:
        vertebra.remove_plugin(name)


@pytest.fixture(scope="session")
def reference(run):
    """Returns presets and adapters of an architecture from other libraries, and their reference outputs."""
    import numpy as np

    import vertebra

    class Reference:
        def __init__(self, architecture):
            self.folder = Path(__file__).parents[2] / "golden" / architecture
            self.io = dict(np.load(self.folder / "io.npz"))
            names = ("token_ids", "segment_ids", "padding_mask")
            self.inputs = {name: self.io[name] for name in names if name != "segment_ids" or architecture == "bert"}

        def load(self, preset="transformers", **arguments):
            """Loads a preset again."""
            return vertebra.Backbone.from_preset(self.folder / preset, **arguments)

        def outputs(self, backbone):
            """Returns the sequence output at positions that hold a token."""
            found = run(backbone, self.inputs)
            sequence = found["sequence_output"] if isinstance(found, dict) else found
            return sequence[self.io["padding_mask"] == 1]

        def gap(self, backbone, tag):
            """Returns the largest difference from the reference outputs of that name."""
            expected = self.io[f"{tag}/sequence_output"][self.io["padding_mask"] == 1]
            return np.abs(self.outputs(backbone) - expected).max()

    return Reference
