"""BERT (Devlin et al. 2018, arXiv:1810.04805): token, position and segment embeddings, then a transformer encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from vertebra import Backbone, activations, hints, layers

_INPUTS = ("token_ids", "segment_ids", "padding_mask")


@keras.saving.register_keras_serializable("vertebra_bert")
class BertBackbone(Backbone):
    """A BERT encoder.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `segment_ids`, the number of the segment that
    each token belongs to; `padding_mask`, 1 for a token and 0 for padding. A batch may have no rows, and its sequences
    must have tokens.

    Outputs: `sequence_output` of shape `(batch, length, hidden_dim)`, and `pooled_output` of shape
    `(batch, hidden_dim)`, a dense layer with tanh on the first token.

    Args:
        vocabulary_size: Number of tokens.
        num_layers: Number of transformer layers.
        num_heads: Number of attention heads; it divides `hidden_dim`.
        hidden_dim: Width of the hidden states.
        intermediate_dim: Width of the feed-forward layers.
        dropout: Dropout rate of embeddings, attention and feed-forward layers, in [0, 1).
        max_sequence_length: Number of positions; longer inputs are an error.
        num_segments: Number of segments.
        activation: Activation of the feed-forward layers, one of `vertebra.activations.NAMES`. KerasHub always
            uses the tanh approximation of GELU; original checkpoints are trained with the exact one, `gelu`.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        attention_dropout: Dropout rate of the attention probabilities, or None for `dropout`.
        initializer_range: Standard deviation of newly initialised kernels and embeddings.
        **kwargs: `dtype`, `trainable` and `name`, as in `vertebra.Backbone`.

    Raises:
        ValueError: an argument is of another type than expected or out of range, or `num_heads` does not divide
            `hidden_dim`.
    """

    lora_roles: ClassVar[Mapping[str, Sequence[str]]] = {
        "attention.query": ("transformer_layer_*/self_attention/query",),
        "attention.key": ("transformer_layer_*/self_attention/key",),
        "attention.value": ("transformer_layer_*/self_attention/value",),
        "attention.output": ("transformer_layer_*/self_attention/attention_output",),
        "mlp.up": ("transformer_layer_*/feedforward_intermediate_dense",),
        "mlp.down": ("transformer_layer_*/feedforward_output_dense",),
        "embedding.token": ("token_embedding",),
    }

    def __init__(
        self,
        vocabulary_size: hints.Size,
        num_layers: hints.Layers,
        num_heads: hints.Size,
        hidden_dim: hints.Size,
        intermediate_dim: hints.Size,
        dropout: hints.Rate = 0.1,
        max_sequence_length: hints.Size = 512,
        num_segments: hints.Size = 2,
        dtype: Any = None,
        *,
        activation: hints.Activation = "gelu_approximate",
        layer_norm_epsilon: hints.Positive = 1e-12,
        attention_dropout: hints.Rate | None = None,
        initializer_range: hints.Deviation = 0.02,
        **kwargs: Any,
    ) -> None:
        arguments = hints.checked(BertBackbone.__init__, locals())
        if hidden_dim % num_heads:
            raise ValueError(f"num_heads={num_heads!r}, expected a divisor of hidden_dim={hidden_dim}.")
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in _INPUTS}
        network = _Layers(arguments, dtype)
        outputs = network.connect(**inputs)
        super().__init__(inputs=inputs, outputs=outputs, arguments=arguments, dtype=dtype, **kwargs)
        self.token_embedding, self.segment_embedding = network.token_embedding, network.segment_embedding
        self.position_embedding, self.embeddings_layer_norm = network.position_embedding, network.embeddings_layer_norm
        self.embeddings_add, self.embeddings_dropout = network.embeddings_add, network.embeddings_dropout
        self.transformer_layers, self.pooled_dense = network.transformer_layers, network.pooled_dense
        self.cls_token_index = 0


class _Layers:
    """The layers of a backbone, and how they are connected."""

    def __init__(self, arguments: Mapping[str, Any], dtype: Any) -> None:
        self.arguments, self.dtype = arguments, dtype
        self.token_embedding = self._embedding(
            keras.layers.ReversibleEmbedding, "vocabulary_size", name="token_embedding"
        )
        self.position_embedding = self._embedding(PositionEmbedding, "max_sequence_length", name="position_embedding")
        self.segment_embedding = self._embedding(keras.layers.Embedding, "num_segments", name="segment_embedding")
        self.embeddings_add = keras.layers.Add(dtype=dtype, name="embeddings_add")
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            epsilon=arguments["layer_norm_epsilon"], dtype=dtype, name="embeddings_layer_norm"
        )
        self.embeddings_dropout = layers.Dropout(arguments["dropout"], dtype=dtype, name="embeddings_dropout")
        names = [f"transformer_layer_{i}" for i in range(arguments["num_layers"])]
        self.transformer_layers = [TransformerLayer(arguments, dtype=dtype, name=name) for name in names]
        initializer = _initializer(arguments)
        self.pooled_dense = keras.layers.Dense(
            arguments["hidden_dim"], "tanh", kernel_initializer=initializer, dtype=dtype, name="pooled_dense"
        )

    def _embedding(self, kind: Any, rows: str, name: str) -> Any:
        width, initializer = self.arguments["hidden_dim"], _initializer(self.arguments)
        return kind(self.arguments[rows], width, embeddings_initializer=initializer, dtype=self.dtype, name=name)

    def connect(self, token_ids: Any, segment_ids: Any, padding_mask: Any) -> dict[str, Any]:
        tokens = self.token_embedding(token_ids)
        embeddings = [tokens, self.position_embedding(tokens), self.segment_embedding(segment_ids)]
        x = self.embeddings_dropout(self.embeddings_layer_norm(self.embeddings_add(embeddings)))
        for layer in self.transformer_layers:
            x = layer(x, padding_mask=padding_mask)
        first = ops.take(x, 0, axis=1)  # an index with slices could not be rematerialised on JAX
        return {"sequence_output": x, "pooled_output": self.pooled_dense(first)}


@keras.saving.register_keras_serializable("vertebra_bert")
class TransformerLayer(keras.layers.Layer):
    """Self-attention, then a feed-forward network; each with dropout, a residual path and layer normalisation.

    Args:
        arguments: The backbone's arguments.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = dict(arguments)
        self.attention = SelfAttention(arguments, dtype=self.dtype_policy, name="self_attention")
        self.attention_dropout = self._dropout("self_attention_dropout")
        self.attention_norm = self._norm("self_attention_layer_norm")
        function = activations.activation(arguments["activation"])
        self.up = self._dense("intermediate_dim", "feedforward_intermediate_dense", function)
        self.down = self._dense("hidden_dim", "feedforward_output_dense")
        self.feedforward_dropout = self._dropout("feedforward_dropout")
        self.feedforward_norm = self._norm("feedforward_layer_norm")

    def _norm(self, name: str) -> Any:
        epsilon = self.arguments["layer_norm_epsilon"]
        return keras.layers.LayerNormalization(epsilon=epsilon, dtype=self.dtype_policy, name=name)

    def _dropout(self, name: str) -> Any:
        return layers.Dropout(self.arguments["dropout"], dtype=self.dtype_policy, name=name)

    def _dense(self, width: str, name: str, activation: Any = None) -> Any:
        initializer = _initializer(self.arguments)
        return keras.layers.Dense(
            self.arguments[width], activation, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
        )

    def build(self, shape: Any) -> None:
        for layer in (self.attention, self.attention_norm, self.up, self.feedforward_norm):
            layer.build(shape)
        self.down.build((*shape[:-1], self.up.units))

    def call(self, x: Any, padding_mask: Any = None, training: bool | None = None) -> Any:
        attended = self.attention(x, padding_mask=padding_mask, training=training)
        x = self.attention_norm(x + self.attention_dropout(attended, training=training))
        transformed = self.down(self.up(x))
        return self.feedforward_norm(x + self.feedforward_dropout(transformed, training=training))

    def compute_output_spec(self, x: Any, padding_mask: Any = None, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"arguments": dict(self.arguments)}


class SelfAttention(keras.layers.Layer):
    """Multi-head attention of a sequence on itself (Vaswani et al. 2017, arXiv:1706.03762, section 3.2)."""

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads, self.hidden_dim = arguments["num_heads"], arguments["hidden_dim"]
        self.rate = arguments["dropout" if arguments["attention_dropout"] is None else "attention_dropout"]

        def projection(name: str) -> Any:
            initializer = _initializer(arguments)
            return keras.layers.Dense(
                self.hidden_dim, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
            )

        self.query, self.key, self.value = projection("query"), projection("key"), projection("value")
        self.attention_output = projection("attention_output")
        self.dropout = layers.Dropout(self.rate, dtype=self.dtype_policy, name="attention_dropout")

    def build(self, shape: Any) -> None:
        for layer in (self.query, self.key, self.value, self.attention_output):
            layer.build(shape)

    def call(self, x: Any, padding_mask: Any = None, training: bool | None = None) -> Any:
        batch, length = ops.shape(x)[0], ops.shape(x)[1]
        heads = (batch, length, self.num_heads, self.hidden_dim // self.num_heads)
        query, key, value = (ops.reshape(layer(x), heads) for layer in (self.query, self.key, self.value))
        mask = None if padding_mask is None else ops.cast(padding_mask, "bool")[:, None, None, :]
        attend = self._attend_with_dropout if self.rate and training else ops.dot_product_attention
        return self.attention_output(ops.reshape(attend(query, key, value, mask=mask), ops.shape(x)))

    def _attend_with_dropout(self, query: Any, key: Any, value: Any, mask: Any) -> Any:
        """Computes the same as the fused kernel, but with dropout of the probabilities, which the kernel lacks."""
        # The query is scaled before the product, which could overflow float16 otherwise.
        query = query * (self.hidden_dim // self.num_heads) ** -0.5
        scores = ops.cast(ops.einsum("bqhd,bkhd->bhqk", query, key), "float32")
        if mask is not None:
            # The mask is added: with `where`, the gradient would take another pass over all scores.
            scores = scores - 1e9 * ops.cast(ops.logical_not(mask), "float32")
        # A tuple of axes avoids Keras's warning about a softmax over an axis of size 1, but fails without elements.
        probabilities = ops.cast(ops.softmax(scores, axis=3 if 0 in scores.shape else (3,)), value.dtype)
        return ops.einsum("bhqk,bkhd->bqhd", self.dropout(probabilities, training=True), value)

    def compute_output_spec(self, x: Any, padding_mask: Any = None, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("vertebra_bert")
class PositionEmbedding(keras.layers.Layer):
    """Learned embeddings of the positions 0, 1, … of a sequence; the output has shape `(batch, length, width)`.

    Raises:
        ValueError: the sequence is longer than there are positions, or has no tokens.
    """

    def __init__(self, positions: int, width: int, embeddings_initializer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positions, self.width = positions, width
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

    def build(self, shape: Any) -> None:
        self.embeddings = self.add_weight(
            name="embeddings", shape=(self.positions, self.width), initializer=self.embeddings_initializer
        )

    def call(self, x: Any) -> Any:
        length = x.shape[1]
        if isinstance(length, int) and length > self.positions:
            raise ValueError(f"The sequence has {length} tokens; this backbone has {self.positions} positions.")
        if length == 0:
            raise ValueError("The sequence has no tokens; BERT's pooled output is that of the first one.")
        # Repeated for each sequence of the batch: otherwise, Keras would infer a batch of one for the sum of
        # embeddings.
        return ops.broadcast_to(ops.convert_to_tensor(self.embeddings)[:length], ops.shape(x))

    def lookup_indices(self, x: Any) -> Any:
        """Returns the row of `embeddings` for each token, of shape `(batch, length)`; LoRA adapters use it."""
        return ops.broadcast_to(ops.arange(ops.shape(x)[1], dtype="int32"), ops.shape(x)[:2])

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "positions": self.positions,
            "width": self.width,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
        }


def _initializer(arguments: Mapping[str, Any]) -> Any:
    """Returns a new initialiser; weights that share an initialiser would get the same numbers."""
    return keras.initializers.TruncatedNormal(stddev=arguments["initializer_range"])
