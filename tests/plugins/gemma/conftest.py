"""Tiny Gemmas, and the inputs that transformers and KerasHub computed reference outputs for."""

from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="session", params=["gemma", "gemma2"])
def golden(request):
    """Folder of the presets and outputs of one generation of Gemma."""
    return GOLDEN / request.param


@pytest.fixture(scope="session")
def io(golden):
    """Inputs of a reference model, and its float32 outputs, by name of the preset."""
    import numpy as np

    return dict(np.load(golden / "io.npz"))


@pytest.fixture(scope="session")
def inputs():
    """Token ids and a padding mask, each of shape (4, 9) and dtype int32; padding at the right, left and both ends."""
    import numpy as np

    ids = np.random.default_rng(1).integers(1, 101, (4, 9)).astype("int32")
    mask = np.ones((4, 9), "int32")
    mask[1, 6:] = mask[2, :4] = mask[3, [0, 8]] = 0
    return {"token_ids": ids, "padding_mask": mask}


@pytest.fixture(scope="session")
def arguments():
    """Constructor arguments of a tiny Gemma 1 with shared heads, whose width is not that of all its heads together."""
    return {
        "vocabulary_size": 101,
        "num_layers": 3,
        "num_query_heads": 4,
        "num_key_value_heads": 2,
        "hidden_dim": 16,
        "intermediate_dim": 48,
        "head_dim": 6,
    }


@pytest.fixture(scope="session")
def gemma2(arguments):
    """Constructor arguments of a tiny Gemma 2, with caps and a window that are felt."""
    return arguments | {
        "query_head_dim_normalize": False,
        "use_post_ffw_norm": True,
        "use_post_attention_norm": True,
        "attention_logit_soft_cap": 0.8,
        "final_logit_soft_cap": 3.0,
        "use_sliding_window_attention": True,
        "sliding_window_size": 3,
    }


@pytest.fixture(scope="session")
def run(inputs):
    """Calls a model for inference and returns its output as an array of float32."""
    import keras

    def call(model, inputs=inputs):
        return keras.ops.convert_to_numpy(keras.ops.cast(model(inputs, training=False), "float32"))

    return call


@pytest.fixture(scope="session")
def make(arguments, perturbed):
    """Builds a tiny Gemma whose scales and biases matter, too."""
    import vertebra

    return lambda **overrides: perturbed(vertebra.models.GemmaBackbone(**arguments | overrides))
