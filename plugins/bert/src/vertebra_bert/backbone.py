"""BERT (Devlin et al. 2018, arXiv:1810.04805): token, position and segment embeddings, then a transformer encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from vertebra import Backbone

ACTIVATIONS = {
    "gelu": lambda x: keras.activations.gelu(x, approximate=False),
    "gelu_approximate": lambda x: keras.activations.gelu(x, approximate=True),
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
    "tanh": keras.activations.tanh,
}
"""Activations of the feed-forward layers, by the name that the constructor takes."""
_INPUTS = ("token_ids", "segment_ids", "padding_mask")
_SIZES = (
    *("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim"),
    *("max_sequence_length", "num_segments"),
)
_LAYER_ARGUMENTS = (
    *("num_heads", "hidden_dim", "intermediate_dim", "activation"),
    *("dropout", "attention_dropout", "layer_norm_epsilon", "initializer_range"),
)
_MOST_LAYERS = 1_000  # each costs milliseconds to build, before its weights are compared with any file
_MOST_ROWS = 2**31 - 1  # token ids are int32


@keras.saving.register_keras_serializable("vertebra_bert")
class BertBackbone(Backbone):
    """A BERT encoder.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `segment_ids`, the number of the segment that
    each token belongs to; `padding_mask`, 1 for a token and 0 for padding.

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
        activation: Activation of the feed-forward layers, a key of `ACTIVATIONS`. KerasHub always uses the tanh
            approximation of GELU; original checkpoints are trained with the exact one, `gelu`.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        attention_dropout: Dropout rate of the attention probabilities, or None for `dropout`.
        initializer_range: Standard deviation of newly initialised kernels and embeddings.
        **kwargs: `dtype`, `trainable` and `name`, as in `vertebra.Backbone`.

    Raises:
        ValueError: a size is below 1 or absurdly large, a rate is out of range, or `num_heads` does not divide
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
        vocabulary_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        dropout: float = 0.1,
        max_sequence_length: int = 512,
        num_segments: int = 2,
        dtype: Any = None,
        *,
        activation: str = "gelu_approximate",
        layer_norm_epsilon: float = 1e-12,
        attention_dropout: float | None = None,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "vocabulary_size": vocabulary_size,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "hidden_dim": hidden_dim,
            "intermediate_dim": intermediate_dim,
            "dropout": dropout,
            "max_sequence_length": max_sequence_length,
            "num_segments": num_segments,
            "activation": activation,
            "layer_norm_epsilon": layer_norm_epsilon,
            "attention_dropout": attention_dropout,
            "initializer_range": initializer_range,
        }
        _check(arguments)
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in _INPUTS}

        # === Embeddings ===
        def embedding(kind: Any, rows: int, name: str) -> Any:
            start = _start(initializer_range)
            return kind(rows, hidden_dim, embeddings_initializer=start, dtype=dtype, name=name)

        token_embedding = embedding(keras.layers.ReversibleEmbedding, vocabulary_size, "token_embedding")
        position_embedding = embedding(PositionEmbedding, max_sequence_length, "position_embedding")
        segment_embedding = embedding(keras.layers.Embedding, num_segments, "segment_embedding")
        norm = keras.layers.LayerNormalization(epsilon=layer_norm_epsilon, dtype=dtype, name="embeddings_layer_norm")
        tokens = token_embedding(inputs["token_ids"])
        parts = [tokens, position_embedding(tokens), segment_embedding(inputs["segment_ids"])]
        x = norm(keras.layers.Add(dtype=dtype, name="embeddings_add")(parts))
        x = keras.layers.Dropout(dropout, dtype=dtype, name="embeddings_dropout")(x)

        # === Encoder ===
        shared = {name: arguments[name] for name in _LAYER_ARGUMENTS}
        names = [f"transformer_layer_{i}" for i in range(num_layers)]
        transformer_layers = [TransformerLayer(**shared, dtype=dtype, name=name) for name in names]
        for layer in transformer_layers:
            x = layer(x, padding_mask=inputs["padding_mask"])

        # === Pooler ===
        start = _start(initializer_range)
        pooled = keras.layers.Dense(hidden_dim, "tanh", kernel_initializer=start, dtype=dtype, name="pooled_dense")
        outputs = {"sequence_output": x, "pooled_output": pooled(x[:, 0, :])}
        super().__init__(inputs=inputs, outputs=outputs, dtype=dtype, **kwargs)
        self.token_embedding, self.segment_embedding = token_embedding, segment_embedding
        self.position_embedding, self.embeddings_layer_norm = position_embedding, norm
        self.transformer_layers, self.pooled_dense = transformer_layers, pooled
        self.cls_token_index = 0
        self._arguments = arguments
        for name, value in arguments.items():
            setattr(self, name, value)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._arguments


@keras.saving.register_keras_serializable("vertebra_bert")
class TransformerLayer(keras.layers.Layer):
    """Self-attention, then a feed-forward network; each with dropout, a residual path and layer normalisation."""

    def __init__(
        self,
        *,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        activation: str,
        dropout: float,
        attention_dropout: float | None,
        layer_norm_epsilon: float,
        initializer_range: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._arguments = {
            "num_heads": num_heads,
            "hidden_dim": hidden_dim,
            "intermediate_dim": intermediate_dim,
            "activation": activation,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "layer_norm_epsilon": layer_norm_epsilon,
            "initializer_range": initializer_range,
        }
        dtype = self.dtype_policy

        def norm(name: str) -> Any:
            return keras.layers.LayerNormalization(epsilon=layer_norm_epsilon, dtype=dtype, name=name)

        rate = dropout if attention_dropout is None else attention_dropout
        self.attention = SelfAttention(
            num_heads, hidden_dim, rate, initializer_range, dtype=dtype, name="self_attention"
        )
        self.attention_dropout = keras.layers.Dropout(dropout, dtype=dtype, name="self_attention_dropout")
        self.attention_norm = norm("self_attention_layer_norm")
        self.up = keras.layers.Dense(
            intermediate_dim,
            activation=ACTIVATIONS[activation],
            kernel_initializer=_start(initializer_range),
            dtype=dtype,
            name="feedforward_intermediate_dense",
        )
        self.down = keras.layers.Dense(
            hidden_dim, kernel_initializer=_start(initializer_range), dtype=dtype, name="feedforward_output_dense"
        )
        self.feedforward_dropout = keras.layers.Dropout(dropout, dtype=dtype, name="feedforward_dropout")
        self.feedforward_norm = norm("feedforward_layer_norm")

    def build(self, shape: Any) -> None:
        inner = (*shape[:-1], self._arguments["intermediate_dim"])
        for layer in (self.attention, self.attention_norm, self.up, self.feedforward_norm):
            layer.build(shape)
        self.down.build(inner)

    def call(self, x: Any, padding_mask: Any = None, training: bool | None = None) -> Any:
        attended = self.attention(x, padding_mask=padding_mask, training=training)
        x = self.attention_norm(x + self.attention_dropout(attended, training=training))
        transformed = self.down(self.up(x))
        return self.feedforward_norm(x + self.feedforward_dropout(transformed, training=training))

    def compute_output_spec(self, x: Any, padding_mask: Any = None, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._arguments


class SelfAttention(keras.layers.Layer):
    """Multi-head attention of a sequence on itself (Vaswani et al. 2017, arXiv:1706.03762, section 3.2)."""

    def __init__(
        self, num_heads: int, hidden_dim: int, dropout: float, initializer_range: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads, self.hidden_dim, self.rate = num_heads, hidden_dim, dropout

        def projection(name: str) -> Any:
            start = _start(initializer_range)
            return keras.layers.Dense(hidden_dim, kernel_initializer=start, dtype=self.dtype_policy, name=name)

        self.query, self.key, self.value = projection("query"), projection("key"), projection("value")
        self.attention_output = projection("attention_output")
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="attention_dropout")

    def build(self, shape: Any) -> None:
        for layer in (self.query, self.key, self.value, self.attention_output):
            layer.build(shape)

    def call(self, x: Any, padding_mask: Any = None, training: bool | None = None) -> Any:
        batch, length = ops.shape(x)[0], ops.shape(x)[1]
        heads = (batch, length, self.num_heads, self.hidden_dim // self.num_heads)
        query, key, value = (ops.reshape(layer(x), heads) for layer in (self.query, self.key, self.value))
        mask = None if padding_mask is None else ops.cast(padding_mask, "bool")[:, None, None, :]
        attend = self._attend_with_dropout if training and self.rate else ops.dot_product_attention
        return self.attention_output(ops.reshape(attend(query, key, value, mask=mask), ops.shape(x)))

    def _attend_with_dropout(self, query: Any, key: Any, value: Any, mask: Any) -> Any:
        """What the fused kernel computes, with dropout on the probabilities, which it cannot do."""
        scores = ops.cast(ops.einsum("bqhd,bkhd->bhqk", query, key), "float32")
        scores = scores / (self.hidden_dim // self.num_heads) ** 0.5
        if mask is not None:
            scores = ops.where(mask, scores, -1e9)
        # A tuple of axes, because Keras warns of a softmax over the one token of a sequence of length 1.
        probabilities = ops.cast(ops.softmax(scores, axis=(3,)), value.dtype)
        return ops.einsum("bhqk,bkhd->bqhd", self.dropout(probabilities, training=True), value)

    def compute_output_spec(self, x: Any, padding_mask: Any = None, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("vertebra_bert")
class PositionEmbedding(keras.layers.Layer):
    """Learned embeddings of the positions 0, 1, … of a sequence, of its shape `(batch, length, width)`.

    Raises:
        ValueError: the sequence is longer than there are positions.
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
        # One for each sequence, though all are the same: Keras takes the sum of a batch of one and a batch of unknown
        # size for a batch of one.
        return ops.broadcast_to(ops.convert_to_tensor(self.embeddings)[:length], ops.shape(x))

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "positions": self.positions,
            "width": self.width,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
        }


def _start(initializer_range: float) -> Any:
    """Returns a new initialiser; one that several weights share would draw the same numbers for each of them."""
    return keras.initializers.TruncatedNormal(stddev=initializer_range)


def _check(arguments: Mapping[str, Any]) -> None:
    for name in _SIZES:
        most = _MOST_LAYERS if name == "num_layers" else _MOST_ROWS
        if not 1 <= arguments[name] <= most:
            raise ValueError(f"{name}={arguments[name]!r}, expected an int from 1 to {most}.")
    width, heads = arguments["hidden_dim"], arguments["num_heads"]
    if width % heads:
        raise ValueError(f"num_heads={heads} does not divide hidden_dim={width}; choose one that does.")
    for name in ("dropout", "attention_dropout"):
        if not 0 <= (arguments[name] or 0) < 1:
            raise ValueError(f"{name}={arguments[name]!r}, expected a rate in [0, 1).")
    if arguments["activation"] not in ACTIVATIONS:
        raise ValueError(f"activation={arguments['activation']!r}, expected one of {', '.join(ACTIVATIONS)}.")
