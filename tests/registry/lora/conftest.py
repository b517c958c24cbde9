"""What the tests of LoRA share: a backbone of a user's own, and the numbers that an adapter must give."""

import pytest


@pytest.fixture(scope="session")
def toy_class():
    """A backbone that no plugin registered: attention of `EinsumDense` layers, as KerasHub writes it."""
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
    """Returns a backbone's adapters by the path of the layer that holds each."""
    return lambda backbone: backbone._attached.adapters


@pytest.fixture(scope="session")
def fill(adapters):
    """Gives every adapter values that matter, as training would; the same ones for the same backbone."""
    import numpy as np

    def randomise(backbone, seed=0):
        random = np.random.default_rng(seed)
        for adapter in adapters(backbone).values():
            for variable in adapter.weights:
                variable.assign(random.normal(size=variable.shape) * 0.3)

    return randomise


@pytest.fixture(scope="session")
def state(values, run):
    """Returns all that an adapter could change in a backbone: values, what trains, and the configuration."""

    def snapshot(backbone, inputs=None):
        trained = [variable.path for variable in backbone.trainable_weights]
        outputs = {} if inputs is None else run(backbone, inputs)
        arrays = values(backbone) | (outputs if isinstance(outputs, dict) else {"output": outputs})
        bits = {name: array.tobytes() for name, array in arrays.items()}
        return bits, trained, backbone.trainable, backbone.get_config()

    return snapshot
