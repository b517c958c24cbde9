"""The layers of ViT and DINOv2, and how they are connected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from vertebra import layers
from vertebra_vit.encoder import VisionLayer
from vertebra_vit.positions import ImageTokens, PatchEmbedding

_COMMON = ("num_heads", "hidden_dim", "activation", "layer_norm_epsilon", "initializer_range")
"""The arguments of a backbone that its transformer layers have, too."""


class Network:
    """The layers of a backbone, and how they are connected."""

    def __init__(
        self,
        arguments: Mapping[str, Any],
        layer: Mapping[str, Any],
        tokens: Mapping[str, Any],
        use_patch_bias: bool,
        dtype: Any,
    ) -> None:
        self.arguments, self.dtype = arguments, dtype
        height, width = _pair(arguments["patch_size"])
        self.patch_embedding = PatchEmbedding(
            arguments["hidden_dim"],
            (height, width),
            (height, width),
            data_format="channels_last",
            use_bias=use_patch_bias,
            kernel_initializer=self._initializer(),
            dtype=dtype,
            name="patch_embedding",
        )
        grid = arguments["image_shape"][0] // height, arguments["image_shape"][1] // width
        self.embeddings = ImageTokens(
            grid, **tokens, initializer_range=arguments["initializer_range"], dtype=dtype, name="embeddings"
        )
        self.embeddings_dropout = layers.Dropout(arguments["dropout_rate"], dtype=dtype, name="embeddings_dropout")
        common = {name: arguments[name] for name in _COMMON}
        self.transformer_layers = [
            VisionLayer(common | layer, dtype=dtype, name=f"transformer_layer_{i}")
            for i in range(arguments["num_layers"])
        ]
        epsilon = arguments["layer_norm_epsilon"]
        self.layer_norm = keras.layers.LayerNormalization(epsilon=epsilon, dtype=dtype, name="layer_norm")

    def connect(self, images: Any) -> Any:
        x = self.embeddings_dropout(self.embeddings(self.patch_embedding(images)))
        for layer in self.transformer_layers:
            x = layer(x)
        return self.layer_norm(x)

    def pooled_dense(self) -> Any:
        width, initializer = self.arguments["hidden_dim"], self._initializer()
        return keras.layers.Dense(width, "tanh", kernel_initializer=initializer, dtype=self.dtype, name="pooled_dense")

    def _initializer(self) -> Any:
        """Returns a new initialiser; weights that share an initialiser would get the same numbers."""
        return keras.initializers.TruncatedNormal(stddev=self.arguments["initializer_range"])


def swiglu_dim(intermediate_dim: int) -> int:
    """Returns the width of SwiGLU layers: two thirds of that of others, rounded up to a multiple of 8."""
    return (int(intermediate_dim * 2 / 3) + 7) // 8 * 8


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def of_images(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns arguments with sizes that fit together, each written in one way.

    Raises:
        ValueError: a size does not divide another.
    """
    height, width = _pair(arguments["patch_size"])
    shape = list(arguments["image_shape"])
    if shape[0] % height or shape[1] % width:
        raise ValueError(f"patch_size={arguments['patch_size']!r}, expected divisors of those of image_shape={shape}.")
    if arguments["hidden_dim"] % arguments["num_heads"]:
        raise ValueError(
            f"num_heads={arguments['num_heads']!r}, expected a divisor of hidden_dim={arguments['hidden_dim']}."
        )
    return arguments | {"image_shape": shape, "patch_size": height if height == width else [height, width]}
