"""GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): a transformer decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from vertebra import Backbone

ACTIVATIONS = {
    "gelu": lambda x: keras.activations.gelu(x, approximate=False),
    "gelu_approximate": lambda x: keras.activations.gelu(x, approximate=True),
    "mish": keras.activations.mish,
    "quick_gelu": lambda x: x * ops.sigmoid(1.702 * x),
    "relu": keras.activations.relu,
    "relu_squared": lambda x: ops.square(ops.relu(x)),
    "silu": keras.activations.silu,
    "tanh": keras.activations.tanh,
}
"""Activations of the feed-forward layers, by the name that the constructor takes."""
_SIZES = ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length")
_RATES = ("dropout", "attention_dropout", "embedding_dropout")
_LAYER_ARGUMENTS = (
    *("num_heads", "hidden_dim", "intermediate_dim", "activation"),
    *("dropout", "attention_dropout", "layer_norm_epsilon", "initializer_range"),
)
_MOST_LAYERS = 1_000  # each costs milliseconds to build, before its weights are compared with any file
_MOST_ROWS = 2**31 - 1  # token ids are int32


@keras.saving.register_keras_serializable("vertebra_gpt2")
class GPT2Backbone(Backbone):
    """A GPT-2 decoder.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `padding_mask`, 1 for a token and 0 for
    padding, which may stand on either side.

    Output: the hidden states after the last layer normalisation, of shape `(batch, length, hidden_dim)`. Those at
    padding mean nothing.

    Args:
        vocabulary_size: Number of tokens.
        num_layers: Number of transformer layers.
        num_heads: Number of attention heads; it divides `hidden_dim`.
        hidden_dim: Width of the hidden states.
        intermediate_dim: Width of the feed-forward layers.
        dropout: Dropout rate of embeddings, attention and feed-forward layers, in [0, 1).
        max_sequence_length: Number of positions; longer inputs are an error.
        activation: Activation of the feed-forward layers, a key of `ACTIVATIONS`.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        attention_dropout: Dropout rate of the attention probabilities, or None for `dropout`.
        embedding_dropout: Dropout rate of the embeddings' sum, or None for `dropout`.
        initializer_range: Standard deviation of newly initialised kernels and embeddings. As in the paper's section
            2.3, it is divided by the square root of the number of residual branches, `2 * num_layers`, for the
            kernels that end one.
        scale_attention: Whether attention scores are divided by the square root of the width of a head.
        scale_attention_by_inverse_layer_index: Whether those of layer `i`, counted from 0, are divided by `i + 1`, too
            (Mistral's GPT-2, https://github.com/stanford-crfm/mistral).
        **kwargs: `dtype`, `trainable` and `name`, as in `vertebra.Backbone`.

    Raises:
        ValueError: a size is below 1 or absurdly large, a rate is out of range, an activation is unknown, or
            `num_heads` does not divide `hidden_dim`.
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
        max_sequence_length: int = 1024,
        dtype: Any = None,
        *,
        activation: str = "gelu_approximate",
        layer_norm_epsilon: float = 1e-5,
        attention_dropout: float | None = None,
        embedding_dropout: float | None = None,
        initializer_range: float = 0.02,
        scale_attention: bool = True,
        scale_attention_by_inverse_layer_index: bool = False,
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
            "activation": activation,
            "layer_norm_epsilon": layer_norm_epsilon,
            "attention_dropout": attention_dropout,
            "embedding_dropout": embedding_dropout,
            "initializer_range": initializer_range,
            "scale_attention": scale_attention,
            "scale_attention_by_inverse_layer_index": scale_attention_by_inverse_layer_index,
        }
        _check(arguments)
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}

        # === Embeddings ===
        def embedding(kind: Any, rows: int, name: str) -> Any:
            start = _start(initializer_range)
            return kind(rows, hidden_dim, embeddings_initializer=start, dtype=dtype, name=name)

        token_embedding = embedding(keras.layers.ReversibleEmbedding, vocabulary_size, "token_embedding")
        position_embedding = embedding(PositionEmbedding, max_sequence_length, "position_embedding")
        tokens = token_embedding(inputs["token_ids"])
        x = keras.layers.Add(dtype=dtype, name="embeddings_add")([tokens, position_embedding(tokens)])
        rate = dropout if embedding_dropout is None else embedding_dropout
        x = keras.layers.Dropout(rate, dtype=dtype, name="embeddings_dropout")(x)

        # === Decoder ===
        mask = CausalMask(dtype=dtype, name="causal_mask")(inputs["padding_mask"])
        transformer_layers = [_layer(arguments, i, dtype) for i in range(num_layers)]
        for layer in transformer_layers:
            x = layer(x, attention_mask=mask)
        norm = keras.layers.LayerNormalization(epsilon=layer_norm_epsilon, dtype=dtype, name="layer_norm")
        super().__init__(inputs=inputs, outputs=norm(x), dtype=dtype, **kwargs)
        self.token_embedding, self.position_embedding = token_embedding, position_embedding
        self.transformer_layers, self.layer_norm = transformer_layers, norm
        self._arguments = arguments
        for name, value in arguments.items():
            setattr(self, name, value)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._arguments


def _layer(arguments: Mapping[str, Any], index: int, dtype: Any) -> TransformerLayer:
    scale = (arguments["hidden_dim"] // arguments["num_heads"]) ** -0.5 if arguments["scale_attention"] else 1.0
    if arguments["scale_attention_by_inverse_layer_index"]:
        scale /= index + 1
    return TransformerLayer(
        **{name: arguments[name] for name in _LAYER_ARGUMENTS},
        attention_scale=scale,
        residual_initializer_range=arguments["initializer_range"] / (2 * arguments["num_layers"]) ** 0.5,
        dtype=dtype,
        name=f"transformer_layer_{index}",
    )


@keras.saving.register_keras_serializable("vertebra_gpt2")
class TransformerLayer(keras.layers.Layer):
    """Self-attention, then a feed-forward network; each after layer normalisation, with dropout and a residual path."""

    def __init__(
        self,
        *,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        activation: str,
        dropout: float,
        attention_dropout: float | None,
        attention_scale: float,
        layer_norm_epsilon: float,
        initializer_range: float,
        residual_initializer_range: float,
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
            "attention_scale": attention_scale,
            "layer_norm_epsilon": layer_norm_epsilon,
            "initializer_range": initializer_range,
            "residual_initializer_range": residual_initializer_range,
        }
        dtype = self.dtype_policy

        def norm(name: str) -> Any:
            return keras.layers.LayerNormalization(epsilon=layer_norm_epsilon, dtype=dtype, name=name)

        self.attention_norm = norm("self_attention_layer_norm")
        self.attention = SelfAttention(
            num_heads,
            hidden_dim,
            dropout if attention_dropout is None else attention_dropout,
            attention_scale,
            initializer_range,
            residual_initializer_range,
            dtype=dtype,
            name="self_attention",
        )
        self.attention_dropout = keras.layers.Dropout(dropout, dtype=dtype, name="self_attention_dropout")
        self.feedforward_norm = norm("feedforward_layer_norm")
        self.up = keras.layers.Dense(
            intermediate_dim,
            activation=ACTIVATIONS[activation],
            kernel_initializer=_start(initializer_range),
            dtype=dtype,
            name="feedforward_intermediate_dense",
        )
        start = _start(residual_initializer_range)
        self.down = keras.layers.Dense(
            hidden_dim, kernel_initializer=start, dtype=dtype, name="feedforward_output_dense"
        )
        self.feedforward_dropout = keras.layers.Dropout(dropout, dtype=dtype, name="feedforward_dropout")

    def build(self, shape: Any) -> None:
        inner = (*shape[:-1], self._arguments["intermediate_dim"])
        for layer in (self.attention_norm, self.attention, self.feedforward_norm, self.up):
            layer.build(shape)
        self.down.build(inner)

    def call(self, x: Any, attention_mask: Any = None, training: bool | None = None) -> Any:
        attended = self.attention(self.attention_norm(x), attention_mask=attention_mask, training=training)
        x = x + self.attention_dropout(attended, training=training)
        transformed = self.down(self.up(self.feedforward_norm(x)))
        return x + self.feedforward_dropout(transformed, training=training)

    def compute_output_spec(self, x: Any, attention_mask: Any = None, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._arguments


class SelfAttention(keras.layers.Layer):
    """Multi-head attention of a sequence on itself (Vaswani et al. 2017, arXiv:1706.03762, section 3.2)."""

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        dropout: float,
        scale: float,
        initializer_range: float,
        residual_initializer_range: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads, self.hidden_dim, self.rate, self.scale = num_heads, hidden_dim, dropout, scale

        def projection(name: str, deviation: float = initializer_range) -> Any:
            start = _start(deviation)
            return keras.layers.Dense(hidden_dim, kernel_initializer=start, dtype=self.dtype_policy, name=name)

        self.query, self.key, self.value = projection("query"), projection("key"), projection("value")
        self.attention_output = projection("attention_output", residual_initializer_range)
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="attention_dropout")

    def build(self, shape: Any) -> None:
        for layer in (self.query, self.key, self.value, self.attention_output):
            layer.build(shape)

    def call(self, x: Any, attention_mask: Any = None, training: bool | None = None) -> Any:
        batch, length = ops.shape(x)[0], ops.shape(x)[1]
        heads = (batch, length, self.num_heads, self.hidden_dim // self.num_heads)
        query, key, value = (ops.reshape(layer(x), heads) for layer in (self.query, self.key, self.value))
        attend = self._attend_with_dropout if training and self.rate else ops.dot_product_attention
        attended = attend(query, key, value, mask=attention_mask, scale=self.scale)
        return self.attention_output(ops.reshape(attended, ops.shape(x)))

    def _attend_with_dropout(self, query: Any, key: Any, value: Any, mask: Any, scale: float) -> Any:
        """What the fused kernel computes, with dropout on the probabilities, which it cannot do."""
        # Scaled before the product, so that it stays within the range of float16.
        scores = ops.cast(ops.einsum("bqhd,bkhd->bhqk", query * scale, key), "float32")
        if mask is not None:
            scores = ops.where(mask, scores, -1e9)
        # A tuple of axes, because Keras warns of a softmax over the one token of a sequence of length 1.
        probabilities = ops.cast(ops.softmax(scores, axis=(3,)), value.dtype)
        return ops.einsum("bhqk,bkhd->bqhd", self.dropout(probabilities, training=True), value)

    def compute_output_spec(self, x: Any, attention_mask: Any = None, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("vertebra_gpt2")
class CausalMask(keras.layers.Layer):
    """Which positions each position attends to: from a padding mask, a bool tensor `(batch, 1, length, length)`.

    These are the tokens up to itself, and itself even if it is padding: with nothing to attend to, the softmax of
    padding on the left would be 0 / 0, and so would its gradients be.
    """

    def call(self, padding_mask: Any) -> Any:
        positions = ops.arange(ops.shape(padding_mask)[1])
        queries, keys = ops.expand_dims(positions, 1), ops.expand_dims(positions, 0)
        tokens = ops.cast(padding_mask, "bool")[:, None, None, :]
        return ops.logical_or(ops.logical_and(keys < queries, tokens), keys == queries)

    def compute_output_spec(self, padding_mask: Any) -> Any:
        batch, length = padding_mask.shape
        return keras.KerasTensor((batch, 1, length, length), dtype="bool")


@keras.saving.register_keras_serializable("vertebra_gpt2")
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


def _start(deviation: float) -> Any:
    """Returns a new initialiser; one that several weights share would draw the same numbers for each of them."""
    return keras.initializers.RandomNormal(stddev=deviation)


def _check(arguments: Mapping[str, Any]) -> None:
    for name in _SIZES:
        most = _MOST_LAYERS if name == "num_layers" else _MOST_ROWS
        if not 1 <= arguments[name] <= most:
            raise ValueError(f"{name}={arguments[name]!r}, expected an int from 1 to {most}.")
    width, heads = arguments["hidden_dim"], arguments["num_heads"]
    if width % heads:
        raise ValueError(f"num_heads={heads} does not divide hidden_dim={width}; choose one that does.")
    for name in _RATES:
        if not 0 <= (arguments[name] or 0) < 1:
            raise ValueError(f"{name}={arguments[name]!r}, expected a rate in [0, 1).")
    if arguments["activation"] not in ACTIVATIONS:
        raise ValueError(f"activation={arguments['activation']!r}, expected one of {', '.join(ACTIVATIONS)}.")
