"""MPNet (Song et al. 2020, arXiv:2004.09297): BERT without segments, with biases for relative positions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from vertebra import Backbone, hints, layers
from vertebra_mpnet import layout

BUCKETS = 32
"""Number of buckets of relative positions."""
_FARTHEST = 128
"""The distance from which on all positions are in one bucket."""
_PAD_TOKEN_ID = 1


@keras.saving.register_keras_serializable("vertebra_mpnet")
class MPNetBackbone(Backbone):
    """An MPNet encoder.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `padding_mask`, 1 for a token and 0 for
    padding.

    Positions are counted from the token ids, as in transformers: padding, tokens with the id 1, has no position, so
    that it may be on either side. Tokens with another id are counted even if the padding mask is 0. All layers add one
    bias to the attention scores, learned for each head and bucket of distances.

    Outputs: `sequence_output` of shape `(batch, length, hidden_dim)`, and with a pooler, `pooled_output` of shape
    `(batch, hidden_dim)`, a dense layer with tanh on the first token.

    Args:
        vocabulary_size: Number of tokens, at least 2.
        num_layers: Number of transformer layers.
        num_heads: Number of attention heads; it divides `hidden_dim`.
        hidden_dim: Width of the hidden states.
        intermediate_dim: Width of the feed-forward layers.
        dropout: Dropout rate of embeddings, attention and feed-forward layers, in [0, 1).
        max_sequence_length: Number of positions; longer inputs are an error. transformers' `max_position_embeddings`
            is larger by 2.
        activation: Activation of the feed-forward layers, one of `vertebra.activations.NAMES`.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        attention_dropout: Dropout rate of the attention probabilities, or None for `dropout`.
        initializer_range: Standard deviation of newly initialised kernels and embeddings.
        pooler: Whether there is a pooled output.
        **kwargs: `dtype`, `trainable` and `name`, as in `vertebra.Backbone`.

    Raises:
        ValueError: an argument is of another type than expected or out of range, or `num_heads` does not divide
            `hidden_dim`.
    """

    lora_roles: ClassVar[Mapping[str, Sequence[str]]] = layout.ROLES

    def __init__(
        self,
        vocabulary_size: hints.Size,
        num_layers: hints.Layers,
        num_heads: hints.Size,
        hidden_dim: hints.Size,
        intermediate_dim: hints.Size,
        dropout: hints.Rate = 0.1,
        max_sequence_length: hints.Size = 512,
        dtype: Any = None,
        *,
        activation: hints.Activation = "gelu",
        layer_norm_epsilon: hints.Positive = 1e-12,
        attention_dropout: hints.Rate | None = None,
        initializer_range: hints.Deviation = 0.02,
        pooler: hints.Flag = True,
        **kwargs: Any,
    ) -> None:
        arguments = hints.checked(MPNetBackbone.__init__, locals())
        if hidden_dim % num_heads:
            raise ValueError(f"num_heads={num_heads!r}, expected a divisor of hidden_dim={hidden_dim}.")
        if vocabulary_size <= _PAD_TOKEN_ID:
            raise ValueError(
                f"vocabulary_size={vocabulary_size!r}, expected more than {_PAD_TOKEN_ID}, the id of padding."
            )
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
        network = _Layers(arguments, dtype)
        outputs = network.connect(**inputs)
        super().__init__(inputs=inputs, outputs=outputs, arguments=arguments, dtype=dtype, **kwargs)
        self.token_embedding, self.position_embedding = network.token_embedding, network.position_embedding
        self.embeddings_add, self.embeddings_layer_norm = network.embeddings_add, network.embeddings_layer_norm
        self.embeddings_dropout, self.relative_bias = network.embeddings_dropout, network.relative_bias
        self.transformer_layers, self.pooled_dense = network.transformer_layers, network.pooled_dense
        self.start_token_index = 0


class _Layers:
    """The layers of a backbone, and how they are connected."""

    def __init__(self, arguments: Mapping[str, Any], dtype: Any) -> None:
        self.arguments, self.dtype = arguments, dtype
        self.token_embedding = self._embedding(
            keras.layers.ReversibleEmbedding, "vocabulary_size", name="token_embedding"
        )
        self.position_embedding = self._embedding(
            layers.TokenPositionEmbedding,
            "max_sequence_length",
            name="position_embedding",
            pad_token_id=_PAD_TOKEN_ID,
        )
        self.buckets = RelativePositionBuckets(dtype=dtype, name="relative_position_buckets")
        self.relative_bias = keras.layers.Embedding(
            BUCKETS,
            arguments["num_heads"],
            embeddings_initializer=_initializer(arguments),
            dtype=dtype,
            name="relative_attention_bias",
        )
        self.attention_bias = AttentionBias(dtype=dtype, name="attention_bias")
        self.embeddings_add = keras.layers.Add(dtype=dtype, name="embeddings_add")
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            epsilon=arguments["layer_norm_epsilon"], dtype=dtype, name="embeddings_layer_norm"
        )
        self.embeddings_dropout = layers.Dropout(arguments["dropout"], dtype=dtype, name="embeddings_dropout")
        names = [f"transformer_layer_{i}" for i in range(arguments["num_layers"])]
        self.transformer_layers = [layers.EncoderLayer(arguments, dtype=dtype, name=name) for name in names]
        self.first_token = layers.FirstToken(dtype=dtype, name="first_token")
        self.unpad, self.pad = layers.Unpad(dtype=dtype, name="unpad"), layers.Pad(dtype=dtype, name="pad")
        self.pooled_dense = self._pooled_dense() if arguments["pooler"] else None

    def _embedding(self, kind: Any, rows: str, **kwargs: Any) -> Any:
        width, initializer = self.arguments["hidden_dim"], _initializer(self.arguments)
        return kind(self.arguments[rows], width, embeddings_initializer=initializer, dtype=self.dtype, **kwargs)

    def _pooled_dense(self) -> Any:
        width, initializer = self.arguments["hidden_dim"], _initializer(self.arguments)
        return keras.layers.Dense(width, "tanh", kernel_initializer=initializer, dtype=self.dtype, name="pooled_dense")

    def connect(self, token_ids: Any, padding_mask: Any) -> dict[str, Any]:
        # All layers share the bias, which includes the padding mask, so it is computed once.
        bias = self.attention_bias(self.relative_bias(self.buckets(token_ids)), padding_mask=padding_mask)
        x = self.embeddings_add([self.token_embedding(token_ids), self.position_embedding(token_ids)])
        x = self.embeddings_dropout(self.embeddings_layer_norm(x))
        x = self.unpad(x)
        for layer in self.transformer_layers:
            x = layer(x, bias=bias)
        x = self.pad(x, padding_mask)
        if self.pooled_dense is None:
            return {"sequence_output": x}
        return {"sequence_output": x, "pooled_output": self.pooled_dense(self.first_token(x))}


@keras.saving.register_keras_serializable("vertebra_mpnet")
class RelativePositionBuckets(keras.layers.Layer):
    """Numbers the distances of positions by T5's buckets (Raffel et al. 2020, arXiv:1910.10683, section 2.1).

    One half of the buckets is for keys after the query. In each half, the first 8 distances have a bucket each; the
    larger ones up to 128 share 8 buckets, which grow by a constant factor, and all beyond have the last one.

    The input is any tensor of shape `(batch, length, …)`, the output has shape `(1, length, length)` and dtype int32.
    """

    def call(self, x: Any) -> Any:
        positions = ops.arange(ops.shape(x)[1], dtype="int32")
        relative = positions[None, None, :] - positions[None, :, None]
        distance, half = ops.abs(relative), BUCKETS // 2
        exact = half // 2
        # Computed in float32 and in this order, as in transformers: at powers of the factor, rounding decides.
        scale = ops.log(ops.cast(ops.maximum(distance, 1), "float32") / exact) / math.log(_FARTHEST / exact)
        large = exact + ops.cast(scale * (half - exact), "int32")
        bucket = ops.where(distance < exact, distance, ops.minimum(large, half - 1))
        return bucket + half * ops.cast(relative > 0, "int32")

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor((1, x.shape[1], x.shape[1]), dtype="int32")


@keras.saving.register_keras_serializable("vertebra_mpnet")
class AttentionBias(keras.layers.Layer):
    """Adds the padding mask to biases for relative positions.

    The inputs are the biases, of shape `(1, length, length, heads)`, and the padding mask, of shape `(batch, length)`;
    the output has shape `(batch, heads, length, length)`.
    """

    def call(self, biases: Any, padding_mask: Any) -> Any:
        masking = ops.cast(layers.masking_bias(padding_mask)[:, None, None, :], self.compute_dtype)
        return ops.transpose(biases, (0, 3, 1, 2)) + masking

    def compute_output_spec(self, biases: Any, padding_mask: Any) -> Any:
        _, length, _, heads = biases.shape
        return keras.KerasTensor((padding_mask.shape[0], heads, length, length), dtype=self.compute_dtype)


def _initializer(arguments: Mapping[str, Any]) -> Any:
    """Returns a new initialiser; weights that share an initialiser would get the same numbers."""
    return keras.initializers.TruncatedNormal(stddev=arguments["initializer_range"])
