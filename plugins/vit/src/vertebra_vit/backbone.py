"""ViT (Dosovitskiy et al. 2020, arXiv:2010.11929) and DINOv2 (Oquab et al. 2023, arXiv:2304.07193).

An image is cut into patches, whose embeddings a transformer encoder mixes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import keras
import numpy as np
from annotated_types import Len

from vertebra import Backbone, hints, layers
from vertebra_vit import layout
from vertebra_vit.network import Network, of_images, swiglu_dim
from vertebra_vit.positions import FeatureMap, resize_grid

Shape = Annotated[list[hints.Size], Len(3, 3)]
"""Height, width and channels of an image."""
Pair = Annotated[list[hints.Size], Len(2, 2)]


class ImageEncoder(Backbone):
    """What ViT and DINOv2 share: roles for LoRA, a sample, and hidden states by layer."""

    lora_roles: ClassVar[Mapping[str, Sequence[str]]] = layout.ROLES

    def features(
        self, images: Any, layers: Sequence[int] = (-1,), *, norm: bool = False, training: bool | None = None
    ) -> list[Any]:
        """Returns the hidden states of patches after some layers, as maps, such as for segmentation or detection.

        With `backbone.input` in place of images, the result are outputs for a `keras.Model`. timm's `features_only`
        returns the same, with the channels in front, and transformers' `Dinov2Backbone` with `norm=True`.

        Args:
            images: Images, as in a call.
            layers: Numbers of transformer layers; the first is 0, the last -1.
            norm: Whether the normalisation behind the last layer is applied to each map.
            training: Whether dropout is applied.

        Returns:
            For each layer, floats of shape `(batch, rows, columns, hidden_dim)`: a row and a column for each patch.

        Raises:
            ValueError: there is no such layer.
        """
        count = len(self.transformer_layers)
        for number in layers:
            if type(number) is not int or not -count <= number < count:
                raise ValueError(f"layers={layers!r}, expected ints from {-count} to {count - 1}.")
        patches = self.patch_embedding(images)
        states, found = self.embeddings_dropout(self.embeddings(patches), training=training), []
        for layer in self.transformer_layers[: max(number % count for number in layers) + 1]:
            states = layer(states, training=training)
            found.append(states)
        chosen = [found[number % count] for number in layers]
        as_map = FeatureMap(self.embeddings.num_leading, dtype=self.dtype_policy)
        return [as_map(self.layer_norm(states) if norm else states, patches) for states in chosen]

    def sample_inputs(self) -> Any:
        """Returns two small images of at most 2 × 3 patches, whose positions are interpolated."""
        height, width = (min(2 + axis, rows) * size for axis, (rows, size) in enumerate(self._grid()))
        shape = (2, height, width, self.image_shape[-1])
        return np.cos(np.arange(np.prod(shape))).reshape(shape).astype(self.input.dtype)

    def _grid(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns number and size of the patches, of each axis."""
        (rows, columns), (height, width) = self.embeddings.grid, self.patch_embedding.kernel_size
        return (rows, height), (columns, width)

    def _set_layers(self, network: Network) -> None:
        self.patch_embedding, self.embeddings = network.patch_embedding, network.embeddings
        self.embeddings_dropout = network.embeddings_dropout
        self.transformer_layers, self.layer_norm = network.transformer_layers, network.layer_norm


@keras.saving.register_keras_serializable("vertebra_vit")
class ViTBackbone(ImageEncoder):
    """A Vision Transformer.

    The input are images, floats of shape `(batch, height, width, channels)`, scaled as the preset's preprocessing says.
    Height and width may differ from those of `image_shape`: the positions are interpolated then, as in transformers
    with `interpolate_pos_encoding=True`. Pixels behind the last whole patch are not used.

    Outputs: `sequence_output` of shape `(batch, tokens, hidden_dim)`, the class token and the patches, row by row; and
    with a pooler, `pooled_output` of shape `(batch, hidden_dim)`, a dense layer with tanh on the class token.

    Args:
        image_shape: Height, width and channels of the images that the learned positions are for.
        patch_size: Height and width of a patch, or one int for both; they divide those of `image_shape`.
        num_layers: Number of transformer layers.
        num_heads: Number of attention heads; it divides `hidden_dim`.
        hidden_dim: Width of the hidden states.
        mlp_dim: Width of the feed-forward layers.
        dropout_rate: Dropout rate of embeddings, and of the results of attention and feed-forward layers, in [0, 1).
        attention_dropout: Dropout rate of the attention probabilities.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        use_mha_bias: Whether the projections of attention have biases.
        use_mlp_bias: Whether the feed-forward layers have biases.
        use_class_token: Whether there is a class token.
        use_patch_bias: Whether the embedding of patches has a bias.
        attention_output_bias: Whether the output projection of attention has a bias; None means as `use_mha_bias`.
        activation: Activation of the feed-forward layers, one of `vertebra.activations.NAMES`.
        initializer_range: Standard deviation of newly initialised kernels and embeddings.
        pooler: Whether there is a pooled output; it needs a class token.
        **kwargs: `dtype`, `trainable` and `name`, as in `vertebra.Backbone`.

    Raises:
        ValueError: an argument is of another type than expected or out of range, or they do not fit together.
    """

    def __init__(
        self,
        image_shape: Shape,
        patch_size: hints.Size | Pair,
        num_layers: hints.Layers,
        num_heads: hints.Size,
        hidden_dim: hints.Size,
        mlp_dim: hints.Size,
        dropout_rate: hints.Rate = 0.0,
        attention_dropout: hints.Rate = 0.0,
        layer_norm_epsilon: hints.Positive = 1e-6,
        use_mha_bias: hints.Flag = True,
        use_mlp_bias: hints.Flag = True,
        use_class_token: hints.Flag = True,
        use_patch_bias: hints.Flag = True,
        dtype: Any = None,
        *,
        attention_output_bias: hints.Flag | None = None,
        activation: hints.Activation = "gelu",
        initializer_range: hints.Deviation = 0.02,
        pooler: hints.Flag = False,
        **kwargs: Any,
    ) -> None:
        arguments = of_images(hints.checked(ViTBackbone.__init__, locals()))
        if pooler and not use_class_token:
            raise ValueError("pooler=True, expected False without a class token, which the pooler reads.")
        output_bias = use_mha_bias if attention_output_bias is None else attention_output_bias
        layer = {
            "intermediate_dim": mlp_dim,
            "attention_dropout": attention_dropout,
            "dropout": dropout_rate,
            "drop_path": 0.0,
            "qkv_bias": use_mha_bias,
            "output_bias": output_bias,
            "mlp_bias": use_mlp_bias,
            "layer_scale": None,
            "gated": False,
        }
        network = Network(arguments, layer, {"use_class_token": use_class_token}, use_patch_bias, dtype)
        images = keras.Input((None, None, image_shape[-1]), name="images")
        outputs = {"sequence_output": network.connect(images)}
        pooled_dense = network.pooled_dense() if pooler else None
        if pooled_dense is not None:
            first = layers.FirstToken(dtype=dtype, name="first_token")
            outputs["pooled_output"] = pooled_dense(first(outputs["sequence_output"]))
        super().__init__(inputs=images, outputs=outputs, arguments=arguments, dtype=dtype, **kwargs)
        self._set_layers(network)
        self.pooled_dense = pooled_dense

    @classmethod
    def resize_weight(cls, name: str, value: Any, shape: tuple[int, ...]) -> Any:
        """Interpolates the positions of a square grid of patches, for `from_preset(..., image_shape=...)`."""
        return _resized(value, shape) if name == "embeddings/position_embedding" else None


@keras.saving.register_keras_serializable("vertebra_vit")
class DINOV2Backbone(ImageEncoder):
    """A DINOv2 encoder, with or without registers (Darcet et al. 2023, arXiv:2309.16588).

    The input are images, floats of shape `(batch, height, width, channels)`, scaled as the preset's preprocessing says,
    of any height and width: positions are interpolated between those of `image_shape`. Pixels behind the last whole
    patch are not used.

    Outputs: `sequence_output` of shape `(batch, tokens, hidden_dim)`, the class token, the registers and the patches,
    row by row; and `pooled_output` of shape `(batch, hidden_dim)`, the class token.

    Args:
        patch_size: Height and width of a patch, or one int for both; they divide those of `image_shape`.
        num_layers: Number of transformer layers.
        hidden_dim: Width of the hidden states.
        num_heads: Number of attention heads; it divides `hidden_dim`.
        intermediate_dim: Width of the feed-forward layers. Those with SwiGLU have two thirds of it, rounded up to a
            multiple of 8.
        layer_scale_init_value: Initial value of the weights that scale the results of layers.
        num_register_tokens: Number of registers.
        use_mask_token: Whether there is the weight that replaces masked patches in pretraining. No input masks patches.
        use_swiglu_ffn: Whether the feed-forward layers are SwiGLU.
        dropout_rate: Dropout rate of the embeddings, in [0, 1).
        drop_path_rate: Rate at which a layer's results are left out for a whole image in training.
        image_shape: Height, width and channels of the images that the learned positions are for: KerasHub's
            `position_embedding_shape`.
        antialias_in_interpolation: Whether positions are interpolated with antialiasing, as in models with registers.
        attention_dropout: Dropout rate of the attention probabilities, or None for `dropout_rate`.
        qkv_bias: Whether query, key and value have biases.
        activation: Activation of the feed-forward layers without SwiGLU, one of `vertebra.activations.NAMES`.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        initializer_range: Standard deviation of newly initialised kernels and embeddings.
        **kwargs: `dtype`, `trainable` and `name`, as in `vertebra.Backbone`.

    Raises:
        ValueError: an argument is of another type than expected or out of range, or they do not fit together.
    """

    def __init__(
        self,
        patch_size: hints.Size | Pair,
        num_layers: hints.Layers,
        hidden_dim: hints.Size,
        num_heads: hints.Size,
        intermediate_dim: hints.Size,
        layer_scale_init_value: float = 1.0,
        num_register_tokens: Annotated[int, hints.Expected(lambda value: 0 <= value <= 1000, "from 0 to 1000")] = 0,
        use_mask_token: hints.Flag = True,
        use_swiglu_ffn: hints.Flag = False,
        dropout_rate: hints.Rate = 0.0,
        drop_path_rate: hints.Rate = 0.0,
        image_shape: Shape = (518, 518, 3),  # type: ignore[assignment]
        antialias_in_interpolation: hints.Flag = False,
        dtype: Any = None,
        *,
        attention_dropout: hints.Rate | None = None,
        qkv_bias: hints.Flag = True,
        activation: hints.Activation = "gelu",
        layer_norm_epsilon: hints.Positive = 1e-6,
        initializer_range: hints.Deviation = 0.02,
        **kwargs: Any,
    ) -> None:
        arguments = of_images(hints.checked(DINOV2Backbone.__init__, locals()))
        layer = {
            "intermediate_dim": swiglu_dim(intermediate_dim) if use_swiglu_ffn else intermediate_dim,
            "activation": "silu" if use_swiglu_ffn else activation,
            "attention_dropout": dropout_rate if attention_dropout is None else attention_dropout,
            "dropout": 0.0,
            "drop_path": drop_path_rate,
            "qkv_bias": qkv_bias,
            "output_bias": True,
            "mlp_bias": True,
            "layer_scale": layer_scale_init_value,
            "gated": use_swiglu_ffn,
        }
        tokens = {
            "num_register_tokens": num_register_tokens,
            "use_mask_token": use_mask_token,
            "antialias": antialias_in_interpolation,
        }
        network = Network(arguments, layer, tokens, True, dtype)
        images = keras.Input((None, None, image_shape[-1]), name="images")
        states = network.connect(images)
        first = layers.FirstToken(dtype=dtype, name="first_token")
        outputs = {"sequence_output": states, "pooled_output": first(states)}
        super().__init__(inputs=images, outputs=outputs, arguments=arguments, dtype=dtype, **kwargs)
        self._set_layers(network)
        if use_swiglu_ffn:
            self.lora_roles = self.lora_roles | layout.GATED


def _resized(value: Any, shape: tuple[int, ...]) -> Any:
    """Returns positions for another number of patches; None unless both are a square, with or without a class token."""
    for first in (1, 0):
        old, new = (int((length - first) ** 0.5) for length in (value.shape[1], shape[1]))
        if old**2 == value.shape[1] - first and new**2 == shape[1] - first:
            grid = resize_grid(keras.ops.convert_to_tensor(value[:, first:]), (old, old), (new, new))
            return np.concatenate([value[:, :first], keras.ops.convert_to_numpy(grid)], axis=1)
    return None
