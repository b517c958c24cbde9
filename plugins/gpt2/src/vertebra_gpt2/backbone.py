"""GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): a transformer decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import keras
from keras import ops

from vertebra import Backbone, activations, hints, layers
from vertebra_gpt2 import layout


@keras.saving.register_keras_serializable("vertebra_gpt2")
class GPT2Backbone(Backbone):
    """A GPT-2 decoder.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `padding_mask`, 1 for a token and 0 for
    padding, which may be on either side.

    Output: the hidden states after the last layer normalisation, of shape `(batch, length, hidden_dim)`. Those of
    padding are undefined.

    Args:
        vocabulary_size: Number of tokens.
        num_layers: Number of transformer layers.
        num_heads: Number of attention heads; it divides `hidden_dim`.
        hidden_dim: Width of the hidden states.
        intermediate_dim: Width of the feed-forward layers.
        dropout: Dropout rate of embeddings, attention and feed-forward layers, in [0, 1).
        max_sequence_length: Number of positions; longer inputs are an error.
        activation: Activation of the feed-forward layers, one of `vertebra.activations.NAMES`.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        attention_dropout: Dropout rate of the attention probabilities, or None for `dropout`.
        embedding_dropout: Dropout rate of the embeddings' sum, or None for `dropout`.
        initializer_range: Standard deviation of newly initialised kernels and embeddings. As in the paper's section
            2.3, it is divided by the square root of the number of residual branches, `2 * num_layers`, for the
            kernels that end one.
        scale_attention: Whether attention scores are divided by the square root of the width of a head.
        scale_attention_by_inverse_layer_index: Whether attention scores of layer `i`, counted from 0, are also divided
            by `i + 1` (Mistral's GPT-2, https://github.com/stanford-crfm/mistral).
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
        max_sequence_length: hints.Size = 1024,
        dtype: Any = None,
        *,
        activation: hints.Activation = "gelu_approximate",
        layer_norm_epsilon: hints.Positive = 1e-5,
        attention_dropout: hints.Rate | None = None,
        embedding_dropout: hints.Rate | None = None,
        initializer_range: hints.Deviation = 0.02,
        scale_attention: hints.Flag = True,
        scale_attention_by_inverse_layer_index: hints.Flag = False,
        **kwargs: Any,
    ) -> None:
        arguments = hints.checked(GPT2Backbone.__init__, locals())
        if hidden_dim % num_heads:
            raise ValueError(f"num_heads={num_heads!r}, expected a divisor of hidden_dim={hidden_dim}.")
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
        network = _Layers(arguments, dtype)
        outputs = network.connect(**inputs)
        super().__init__(inputs=inputs, outputs=outputs, arguments=arguments, dtype=dtype, **kwargs)
        self.token_embedding, self.position_embedding = network.token_embedding, network.position_embedding
        self.embeddings_add, self.embeddings_dropout = network.embeddings_add, network.embeddings_dropout
        self.transformer_layers, self.layer_norm = network.transformer_layers, network.layer_norm


class _Layers:
    """The layers of a backbone, and how they are connected."""

    def __init__(self, arguments: Mapping[str, Any], dtype: Any) -> None:
        self.arguments, self.dtype = arguments, dtype
        self.token_embedding = self._embedding(
            keras.layers.ReversibleEmbedding, "vocabulary_size", name="token_embedding"
        )
        self.position_embedding = self._embedding(PositionEmbedding, "max_sequence_length", name="position_embedding")
        self.embeddings_add = keras.layers.Add(dtype=dtype, name="embeddings_add")
        rate = _rate(arguments, "embedding_dropout")
        self.embeddings_dropout = layers.Dropout(rate, dtype=dtype, name="embeddings_dropout")
        self.causal_mask = CausalMask(dtype=dtype, name="causal_mask")
        self.transformer_layers = [
            TransformerLayer(arguments, i, dtype=dtype, name=f"transformer_layer_{i}")
            for i in range(arguments["num_layers"])
        ]
        epsilon = arguments["layer_norm_epsilon"]
        self.layer_norm = keras.layers.LayerNormalization(epsilon=epsilon, dtype=dtype, name="layer_norm")

    def _embedding(self, kind: Any, rows: str, name: str) -> Any:
        width, initializer = self.arguments["hidden_dim"], _initializer(self.arguments)
        return kind(self.arguments[rows], width, embeddings_initializer=initializer, dtype=self.dtype, name=name)

    def connect(self, token_ids: Any, padding_mask: Any) -> Any:
        tokens = self.token_embedding(token_ids)
        x = self.embeddings_dropout(self.embeddings_add([tokens, self.position_embedding(tokens)]))
        mask = self.causal_mask(padding_mask)  # the same for all layers
        for layer in self.transformer_layers:
            x = layer(x, attention_mask=mask)
        return self.layer_norm(x)


@keras.saving.register_keras_serializable("vertebra_gpt2")
class TransformerLayer(keras.layers.Layer):
    """Self-attention, then a feed-forward network; each after layer normalisation, with dropout and a residual path.

    Args:
        arguments: The backbone's arguments.
        index: The layer's number, counted from 0.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, arguments: Mapping[str, Any], index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments, self.index = dict(arguments), index
        self.attention_norm = self._norm("self_attention_layer_norm")
        self.attention = SelfAttention(arguments, index, dtype=self.dtype_policy, name="self_attention")
        self.attention_dropout = self._dropout("self_attention_dropout")
        self.feedforward_norm = self._norm("feedforward_layer_norm")
        function, initializer = activations.activation(arguments["activation"]), _initializer(arguments)
        self.up = self._dense("intermediate_dim", "feedforward_intermediate_dense", initializer, function)
        self.down = self._dense("hidden_dim", "feedforward_output_dense", _residual_initializer(arguments))
        self.feedforward_dropout = self._dropout("feedforward_dropout")

    def _norm(self, name: str) -> Any:
        epsilon = self.arguments["layer_norm_epsilon"]
        return keras.layers.LayerNormalization(epsilon=epsilon, dtype=self.dtype_policy, name=name)

    def _dropout(self, name: str) -> Any:
        return layers.Dropout(self.arguments["dropout"], dtype=self.dtype_policy, name=name)

    def _dense(self, width: str, name: str, initializer: Any, activation: Any = None) -> Any:
        return keras.layers.Dense(
            self.arguments[width], activation, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
        )

    def build(self, shape: Any) -> None:
        for layer in (self.attention_norm, self.attention, self.feedforward_norm, self.up):
            layer.build(shape)
        self.down.build((*shape[:-1], self.up.units))

    def call(self, x: Any, attention_mask: Any = None, training: bool | None = None) -> Any:
        attended = self.attention(self.attention_norm(x), attention_mask=attention_mask, training=training)
        x = x + self.attention_dropout(attended, training=training)
        transformed = self.down(self.up(self.feedforward_norm(x)))
        return x + self.feedforward_dropout(transformed, training=training)

    def compute_output_spec(self, x: Any, attention_mask: Any = None, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"arguments": dict(self.arguments), "index": self.index}


class SelfAttention(keras.layers.Layer):
    """Multi-head attention of a sequence on itself (Vaswani et al. 2017, arXiv:1706.03762, section 3.2)."""

    def __init__(self, arguments: Mapping[str, Any], index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads, self.hidden_dim = arguments["num_heads"], arguments["hidden_dim"]
        self.rate, self.scale = _rate(arguments, "attention_dropout"), _scale(arguments, index)

        def projection(name: str, initializer: Any) -> Any:
            return keras.layers.Dense(
                self.hidden_dim, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
            )

        self.query, self.key, self.value = (
            projection(name, _initializer(arguments)) for name in ("query", "key", "value")
        )
        self.attention_output = projection("attention_output", _residual_initializer(arguments))
        self.dropout = layers.Dropout(self.rate, dtype=self.dtype_policy, name="attention_dropout")

    def build(self, shape: Any) -> None:
        for layer in (self.query, self.key, self.value, self.attention_output):
            layer.build(shape)

    def call(self, x: Any, attention_mask: Any = None, training: bool | None = None) -> Any:
        batch, length = ops.shape(x)[0], ops.shape(x)[1]
        heads = (batch, length, self.num_heads, self.hidden_dim // self.num_heads)
        query, key, value = (ops.reshape(layer(x), heads) for layer in (self.query, self.key, self.value))
        key, value = layers.cached(key, value)
        dropout = partial(self.dropout, training=True) if self.rate and training else None
        attended = layers.attend(query, key, value, mask=attention_mask, dropout=dropout, scale=self.scale)
        return self.attention_output(ops.reshape(attended, ops.shape(x)))

    def compute_output_spec(self, x: Any, attention_mask: Any = None, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("vertebra_gpt2")
class CausalMask(layers.CausalMask):
    """`vertebra.layers.CausalMask` under the name that `.keras` files have for it."""


@keras.saving.register_keras_serializable("vertebra_gpt2")
class PositionEmbedding(layers.PositionEmbedding):
    """`vertebra.layers.PositionEmbedding` under the name that `.keras` files have for it."""


def _rate(arguments: Mapping[str, Any], name: str) -> float:
    rate: float | None = arguments[name]
    return arguments["dropout"] if rate is None else rate


def _scale(arguments: Mapping[str, Any], index: int) -> float:
    """Returns the factor of a layer's attention scores."""
    width = arguments["hidden_dim"] // arguments["num_heads"]
    scale = width**-0.5 if arguments["scale_attention"] else 1.0
    return scale / (index + 1) if arguments["scale_attention_by_inverse_layer_index"] else scale


def _initializer(arguments: Mapping[str, Any]) -> Any:
    """Returns a new initialiser; weights that share an initialiser would get the same numbers."""
    return keras.initializers.RandomNormal(stddev=arguments["initializer_range"])


def _residual_initializer(arguments: Mapping[str, Any]) -> Any:
    """Returns a new initialiser for kernels that end a residual branch (the paper's section 2.3)."""
    deviation = arguments["initializer_range"] / (2 * arguments["num_layers"]) ** 0.5
    return keras.initializers.RandomNormal(stddev=deviation)
