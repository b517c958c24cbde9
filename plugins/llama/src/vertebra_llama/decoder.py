"""The decoder block: attention with grouped heads and rotary positions, then a gated feed-forward network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
from keras import ops

from vertebra import activations, layers
from vertebra_llama.layer_types import head_dim
from vertebra_llama.rotary import rotate


@keras.saving.register_keras_serializable("vertebra_llama")
class DecoderBlock(keras.layers.Layer):
    """Self-attention, then a gated feed-forward network (arXiv:2002.05202), each after a norm and with a residual path.

    Args:
        arguments: The backbone's arguments.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = dict(arguments)
        dtype, rate = self.dtype_policy, arguments["dropout"]
        self.attention_norm = norm(arguments, dtype, "self_attention_layernorm")
        self.attention = Attention(arguments, dtype=dtype, name="self_attention")
        self.attention_dropout = layers.Dropout(rate, dtype=dtype, name="self_attention_dropout")
        self.feedforward_norm = norm(arguments, dtype, "feedforward_layernorm")
        function = activations.activation(arguments["activation"])
        self.gate = self._dense("intermediate_dim", "feedforward_gate_dense", function)
        self.up = self._dense("intermediate_dim", "feedforward_intermediate_dense")
        self.down = self._dense("hidden_dim", "feedforward_output_dense")
        self.feedforward_dropout = layers.Dropout(rate, dtype=dtype, name="feedforward_dropout")

    def _dense(self, width: str, name: str, activation: Any = None) -> Any:
        bias = self.arguments["mlp_bias"]
        return _dense(self.arguments, self.arguments[width], bias, self.dtype_policy, name, activation)

    def build(self, shape: Any) -> None:
        for layer in (self.attention_norm, self.attention, self.feedforward_norm, self.gate, self.up):
            layer.build(shape)
        self.down.build((*shape[:-1], self.up.units))

    def call(self, x: Any, rotation: Any, attention_mask: Any, training: bool | None = None) -> Any:
        normed = self.attention_norm(x)
        attended = self.attention(normed, rotation=rotation, attention_mask=attention_mask, training=training)
        x = x + self.attention_dropout(attended, training=training)
        normed = self.feedforward_norm(x)
        transformed = self.down(self.gate(normed) * self.up(normed))
        return x + self.feedforward_dropout(transformed, training=training)

    def compute_output_spec(self, x: Any, rotation: Any, attention_mask: Any, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"arguments": dict(self.arguments)}


class Attention(keras.layers.Layer):
    """Attention of a sequence on itself, with queries and keys that are rotated unless `rotation` is None.

    Each head of keys and values is shared by a group of query heads (arXiv:2305.13245). With `query_key_norm`, each
    head of queries and keys is normalised before it is rotated, as in Qwen3 (arXiv:2505.09388).
    """

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        query_heads, heads = arguments["num_query_heads"], arguments["num_key_value_heads"]
        self.head_dim = head_dim(arguments)
        self.rate = arguments["dropout" if arguments["attention_dropout"] is None else "attention_dropout"]
        bias, output_bias = arguments["attention_bias"], arguments["attention_output_bias"]

        def projection(width: int, name: str, bias: bool = bias) -> Any:
            return _dense(arguments, width, bias, self.dtype_policy, name)

        self.query = projection(query_heads * self.head_dim, "query")
        self.key, self.value = (projection(heads * self.head_dim, name) for name in ("key", "value"))
        self.attention_output = projection(
            arguments["hidden_dim"], "attention_output", bias if output_bias is None else output_bias
        )
        self.query_norm, self.key_norm = (
            norm(arguments, self.dtype_policy, name, "query_key_norm_epsilon") if arguments["query_key_norm"] else None
            for name in ("query_norm", "key_norm")
        )
        self.dropout = layers.Dropout(self.rate, dtype=self.dtype_policy, name="probabilities_dropout")

    def build(self, shape: Any) -> None:
        for layer in (self.query, self.key, self.value):
            layer.build(shape)
        self.attention_output.build((*shape[:-1], self.query.units))
        for layer in filter(None, (self.query_norm, self.key_norm)):
            layer.build((None, None, None, self.head_dim))

    def call(self, x: Any, rotation: Any, attention_mask: Any, training: bool | None = None) -> Any:
        query, key, value = (self._heads(layer(x)) for layer in (self.query, self.key, self.value))
        if self.query_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        key, value = layers.cached(key, value)
        dropout = partial(self.dropout, training=True) if self.rate and training else None
        scale = self.head_dim**-0.5
        mixed = layers.attend(query, key, value, mask=attention_mask, dropout=dropout, scale=scale)
        return self.attention_output(ops.reshape(mixed, (*ops.shape(x)[:2], self.query.units)))

    def _heads(self, x: Any) -> Any:
        return ops.reshape(x, (*ops.shape(x)[:2], x.shape[-1] // self.head_dim, self.head_dim))

    def compute_output_spec(self, x: Any, rotation: Any, attention_mask: Any, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)


def norm(arguments: Mapping[str, Any], dtype: Any, name: str, epsilon: str = "layer_norm_epsilon") -> Any:
    """Returns a normalisation by the root mean square (arXiv:1910.07467).

    Args:
        arguments: The backbone's arguments.
        dtype: Dtype policy of the layer.
        name: Name of the layer.
        epsilon: The argument that is added to the mean square; where it is None, `layer_norm_epsilon` is.
    """
    value = arguments["layer_norm_epsilon"] if arguments[epsilon] is None else arguments[epsilon]
    return keras.layers.RMSNormalization(epsilon=value, dtype=dtype, name=name)


def _dense(arguments: Mapping[str, Any], width: int, bias: bool, dtype: Any, name: str, activation: Any = None) -> Any:
    # Each layer has an initialiser of its own: weights that share one would get the same numbers.
    initializer = keras.initializers.RandomNormal(stddev=arguments["initializer_range"])
    return keras.layers.Dense(width, activation, use_bias=bias, kernel_initializer=initializer, dtype=dtype, name=name)
