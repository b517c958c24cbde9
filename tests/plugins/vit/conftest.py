"""Tiny image encoders, and images for them."""

import pytest

SIZES = {"image_shape": (12, 12, 3), "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 16}
BACKBONES = {
    "vit": ("ViTBackbone", {"mlp_dim": 24, "pooler": True}),
    "vit without class token": ("ViTBackbone", {"mlp_dim": 24, "use_class_token": False, "use_mha_bias": False}),
    "dinov2": ("DINOV2Backbone", {"intermediate_dim": 32}),
    "registers": (
        "DINOV2Backbone",
        {"intermediate_dim": 32, "num_register_tokens": 3, "use_swiglu_ffn": True, "antialias_in_interpolation": True},
    ),
}


@pytest.fixture
def make():
    """Builds a tiny encoder whose biases and scales matter, too."""

    import numpy as np

    import vertebra

    def build(name, **overrides):
        kind, arguments = BACKBONES[name]
        backbone = getattr(vertebra.models, kind)(**SIZES | arguments | overrides)
        random = np.random.default_rng(0)
        for variable in backbone.weights:
            variable.assign(variable.numpy() + random.normal(size=variable.shape) * 0.2)
        return backbone

    return build


@pytest.fixture
def images():
    """Returns images of a size."""
    import numpy as np

    return lambda height=12, width=12: np.random.default_rng(1).normal(size=(3, height, width, 3)).astype("float32")


@pytest.fixture
def states():
    """Returns the hidden states that a backbone computes of images, in float32."""
    import keras

    def run(backbone, images):
        found = backbone(images, training=False)["sequence_output"]
        return keras.ops.convert_to_numpy(keras.ops.cast(found, "float32"))

    return run
