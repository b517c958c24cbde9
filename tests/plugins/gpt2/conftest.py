"""What the tests of GPT-2 share: fixtures of the same names as BERT's, with GPT-2's presets, inputs and arguments."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def golden():
    """Folder of the GPT-2 presets and outputs that KerasHub and transformers wrote."""
    return Path(__file__).parents[2] / "golden" / "gpt2"


@pytest.fixture(scope="session")
def io(golden):
    """Inputs of the reference model, and its float32 outputs, by name of the preset."""
    import numpy as np

    return dict(np.load(golden / "io.npz"))


@pytest.fixture(scope="session")
def inputs(io):
    """Token ids and padding mask, each of shape (3, 9) and dtype int32; two rows end in padding."""
    return {name: io[name] for name in ("token_ids", "padding_mask")}


@pytest.fixture(scope="session")
def arguments():
    """Constructor arguments of a tiny GPT-2: 2 layers, 16 wide, 8,464 parameters, without dropout."""
    return {
        "vocabulary_size": 101,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 16,
        "intermediate_dim": 64,
        "max_sequence_length": 16,
        "dropout": 0.0,
    }


@pytest.fixture(scope="session")
def make(arguments, perturbed):
    """Builds a tiny GPT-2 whose biases and scales matter, too."""
    import vertebra

    return lambda **overrides: perturbed(vertebra.models.GPT2Backbone(**arguments | overrides))


@pytest.fixture(scope="session")
def run(inputs):
    """Calls a model for inference and returns its output as an array of float32."""
    import keras

    def call(model, inputs=inputs):
        return keras.ops.convert_to_numpy(keras.ops.cast(model(inputs, training=False), "float32"))

    return call
