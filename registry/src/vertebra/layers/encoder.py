"""The layer of BERT and of the encoders that follow it: self-attention and a feed-forward network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
from keras import ops

from vertebra import activations
from vertebra._keras.dropout import Dropout
from vertebra.layers.attention import attend
from vertebra.layers.unpadding import padded, unpadded


@keras.saving.register_keras_serializable("vertebra")
class EncoderLayer(keras.layers.Layer):  # type: ignore[misc]
    """Self-attention, then a feed-forward network; each with dropout, a residual path and layer normalisation.

    Input and output are floats of shape `(batch, length, hidden_dim)`. A call also takes `padding_mask`, 1 for a token
    and 0 for padding, and `bias`, which is added to attention scores, as in `attend`.

    Args:
        arguments: The backbone's arguments, of which the layer uses `num_heads`, `hidden_dim`, `intermediate_dim`,
            `activation`, `dropout`, `attention_dropout`, `layer_norm_epsilon`, `initializer_range` and, where it is
            another one than `dropout`, `attention_output_dropout`.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = dict(arguments)
        self.attention = SelfAttention(arguments, dtype=self.dtype_policy, name="self_attention")
        rate = arguments["dropout"]
        self.attention_dropout = self._dropout(
            "self_attention_dropout", arguments.get("attention_output_dropout", rate)
        )
        self.attention_norm = self._norm("self_attention_layer_norm")
        function = activations.activation(arguments["activation"])
        self.up = self._dense("intermediate_dim", "feedforward_intermediate_dense", function)
        self.down = self._dense("hidden_dim", "feedforward_output_dense")
        self.feedforward_dropout = self._dropout("feedforward_dropout", rate)
        self.feedforward_norm = self._norm("feedforward_layer_norm")

    def _norm(self, name: str) -> Any:
        epsilon = self.arguments["layer_norm_epsilon"]
        return keras.layers.LayerNormalization(epsilon=epsilon, dtype=self.dtype_policy, name=name)

    def _dropout(self, name: str, rate: float) -> Any:
        return Dropout(rate, dtype=self.dtype_policy, name=name)

    def _dense(self, width: str, name: str, activation: Any = None) -> Any:
        initializer = _initializer(self.arguments)
        return keras.layers.Dense(
            self.arguments[width], activation, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
        )

    def build(self, shape: Any) -> None:
        """Creates the weights, for inputs of a shape."""
        for layer in (self.attention, self.attention_norm, self.up, self.feedforward_norm):
            layer.build(shape)
        self.down.build((*shape[:-1], self.up.units))

    def call(self, x: Any, padding_mask: Any = None, bias: Any = None, training: bool | None = None) -> Any:
        """Computes the output."""
        attended = self.attention(x, padding_mask=padding_mask, bias=bias, training=training)
        x = self.attention_norm(x + self.attention_dropout(attended, training=training))
        transformed = self.down(self.up(x))
        return self.feedforward_norm(x + self.feedforward_dropout(transformed, training=training))

    def compute_output_spec(
        self, x: Any, padding_mask: Any = None, bias: Any = None, training: bool | None = None
    ) -> Any:
        """Returns shape and dtype of the output."""
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config: dict[str, Any] = super().get_config()
        return config | {"arguments": dict(self.arguments)}


@keras.saving.register_keras_serializable("vertebra")
class SelfAttention(keras.layers.Layer):  # type: ignore[misc]
    """Multi-head attention of a sequence on itself (Vaswani et al. 2017, arXiv:1706.03762, section 3.2).

    Args:
        arguments: The backbone's arguments, of which the layer uses `num_heads`, `hidden_dim`, `dropout`,
            `attention_dropout` and `initializer_range`. Where `qkv_bias` or `output_bias` is false, the projections of
            query, key and value or that of the output have no bias.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = dict(arguments)
        self.num_heads, self.hidden_dim = arguments["num_heads"], arguments["hidden_dim"]
        self.rate = arguments["dropout" if arguments["attention_dropout"] is None else "attention_dropout"]

        def projection(name: str, bias: str = "qkv_bias") -> Any:
            return keras.layers.Dense(
                self.hidden_dim,
                use_bias=arguments.get(bias, True),
                kernel_initializer=_initializer(arguments),
                dtype=self.dtype_policy,
                name=name,
            )

        self.query, self.key, self.value = projection("query"), projection("key"), projection("value")
        self.attention_output = projection("attention_output", "output_bias")
        self.dropout: Any = Dropout(self.rate, dtype=self.dtype_policy, name="attention_dropout")

    def build(self, shape: Any) -> None:
        """Creates the weights, for inputs of a shape."""
        for layer in (self.query, self.key, self.value, self.attention_output):
            layer.build(shape)

    def call(self, x: Any, padding_mask: Any = None, bias: Any = None, training: bool | None = None) -> Any:
        """Computes the output."""
        heads = (*ops.shape(x)[:2], self.num_heads, self.hidden_dim // self.num_heads)
        query, key, value = (padded(ops.reshape(layer(x), heads)) for layer in (self.query, self.key, self.value))
        mask = None if padding_mask is None else ops.cast(padding_mask, "bool")[:, None, None, :]
        dropout = partial(self.dropout, training=True) if self.rate and training else None
        mixed = unpadded(attend(query, key, value, mask=mask, bias=bias, dropout=dropout))
        return self.attention_output(ops.reshape(mixed, ops.shape(x)))

    def compute_output_spec(
        self, x: Any, padding_mask: Any = None, bias: Any = None, training: bool | None = None
    ) -> Any:
        """Returns shape and dtype of the output."""
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config: dict[str, Any] = super().get_config()
        return config | {"arguments": dict(self.arguments)}


@keras.saving.register_keras_serializable("vertebra")
class FirstToken(keras.layers.Layer):  # type: ignore[misc]
    """Takes the first token of each sequence, for a pooler: `(batch, length, width)` becomes `(batch, width)`.

    Raises:
        ValueError: in a call, the sequences have no tokens.
    """

    def call(self, x: Any) -> Any:
        """Computes the output."""
        if x.shape[1] == 0:
            raise ValueError("The sequence has no tokens; the pooled output is that of the first one.")
        return x[:, 0, :]

    def compute_output_spec(self, x: Any) -> Any:
        """Returns shape and dtype of the output."""
        return keras.KerasTensor((x.shape[0], x.shape[2]), dtype=x.dtype)


def _initializer(arguments: Mapping[str, Any]) -> Any:
    """Returns a new initialiser; weights that share an initialiser would get the same numbers."""
    return keras.initializers.TruncatedNormal(stddev=arguments["initializer_range"])
