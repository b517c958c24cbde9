"""Gemma's decoder block: attention with grouped heads and rotary positions, gated feed-forward, and norms."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
from keras import ops

from vertebra import activations, layers
from vertebra_gemma.arguments import query_scalar, reach


@keras.saving.register_keras_serializable("vertebra_gemma")
class DecoderBlock(keras.layers.Layer):
    """Self-attention, then a gated feed-forward network (arXiv:2002.05202), each with a residual path.

    Args:
        arguments: The backbone's arguments.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = dict(arguments)
        self.attention = Attention(arguments, dtype=self.dtype_policy, name="attention")
        self.pre_attention_norm, self.pre_ffw_norm = self._norm("pre_attention_norm"), self._norm("pre_ffw_norm")
        self.post_attention_norm = self._norm_if_used("post_attention_norm")
        self.post_ffw_norm = self._norm_if_used("post_ffw_norm")
        half = arguments["intermediate_dim"] // 2
        self.ffw_gating = self._dense(half, "ffw_gating", activations.activation(arguments["activation"]))
        self.ffw_gating_2 = self._dense(half, "ffw_gating_2")
        self.ffw_linear = self._dense(arguments["hidden_dim"], "ffw_linear")
        rate, dtype = arguments["dropout"], self.dtype_policy
        self.attention_dropout = layers.Dropout(rate, dtype=dtype, name="attention_dropout")
        self.ffw_dropout = layers.Dropout(rate, dtype=dtype, name="ffw_dropout")

    def _norm_if_used(self, name: str) -> RMSNormalization | None:
        return self._norm(name) if self.arguments[f"use_{name}"] else None

    def _norm(self, name: str) -> RMSNormalization:
        return RMSNormalization(self.arguments["layer_norm_epsilon"], dtype=self.dtype_policy, name=name)

    def _dense(self, width: int, name: str, activation: Any = None) -> Any:
        return keras.layers.Dense(
            width,
            activation=activation,
            use_bias=False,
            kernel_initializer=_kernel_initializer(self.arguments),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, shape: Any) -> None:
        norms = (self.pre_attention_norm, self.pre_ffw_norm, self.post_attention_norm, self.post_ffw_norm)
        for layer in (self.attention, self.ffw_gating, self.ffw_gating_2, *filter(None, norms)):
            layer.build(shape)
        self.ffw_linear.build((*shape[:-1], self.ffw_gating.units))

    def call(self, x: Any, rotation: Any, attention_mask: Any, training: bool | None = None) -> Any:
        attended = self.attention(
            self.pre_attention_norm(x), rotation=rotation, attention_mask=attention_mask, training=training
        )
        if self.post_attention_norm is not None:
            attended = self.post_attention_norm(attended)
        x = x + self.attention_dropout(attended, training=training)
        normed = self.pre_ffw_norm(x)
        transformed = self.ffw_linear(self.ffw_gating(normed) * self.ffw_gating_2(normed))
        if self.post_ffw_norm is not None:
            transformed = self.post_ffw_norm(transformed)
        return x + self.ffw_dropout(transformed, training=training)

    def compute_output_spec(self, x: Any, rotation: Any, attention_mask: Any, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"arguments": dict(self.arguments)}


class Attention(keras.layers.Layer):
    """Attention of a sequence on itself, with rotated queries and keys (arXiv:2104.09864).

    In Gemma 3, each head of queries and keys is normalised before (arXiv:2503.19786). Each head of keys and values is
    shared by a group of query heads (arXiv:2305.13245).
    """

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        query_heads, heads = arguments["num_query_heads"], arguments["num_key_value_heads"]
        self.head_dim = arguments["head_dim"]
        self.scale, self.logit_soft_cap = query_scalar(arguments) ** -0.5, arguments["attention_logit_soft_cap"]
        self.rate = arguments["dropout" if arguments["attention_dropout"] is None else "attention_dropout"]

        def projection(width: int, name: str) -> Any:
            initializer, bias = _kernel_initializer(arguments), arguments["attention_bias"]
            return keras.layers.Dense(
                width, use_bias=bias, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
            )

        self.query = projection(query_heads * self.head_dim, "query")
        self.key = projection(heads * self.head_dim, "key")
        self.value = projection(heads * self.head_dim, "value")
        self.attention_output = projection(arguments["hidden_dim"], "attention_output")
        self.query_norm, self.key_norm = self._norm(arguments, "query_norm"), self._norm(arguments, "key_norm")
        self.dropout = layers.Dropout(self.rate, dtype=self.dtype_policy, name="probabilities_dropout")

    def _norm(self, arguments: Mapping[str, Any], name: str) -> RMSNormalization | None:
        if not arguments.get("use_query_key_norm"):  # `.keras` files of older releases lack it
            return None
        return RMSNormalization(arguments["layer_norm_epsilon"], dtype=self.dtype_policy, name=name)

    def build(self, shape: Any) -> None:
        for layer in (self.query, self.key, self.value):
            layer.build(shape)
        for norm in filter(None, (self.query_norm, self.key_norm)):
            norm.build((*shape[:-1], None, self.head_dim))
        self.attention_output.build((*shape[:-1], self.query.units))

    def call(self, x: Any, rotation: Any, attention_mask: Any, training: bool | None = None) -> Any:
        query, key = self._heads(self.query(x)), self._heads(self.key(x))
        if self.query_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        query, key = layers.rotate(query, rotation), layers.rotate(key, rotation)
        key, value = layers.cached(key, self._heads(self.value(x)))
        mixed = layers.attend(
            query,
            key,
            value,
            mask=attention_mask,
            dropout=partial(self.dropout, training=True) if self.rate and training else None,
            scale=self.scale,
            soft_cap=self.logit_soft_cap,
        )
        return self.attention_output(ops.reshape(mixed, (*ops.shape(x)[:2], self.query.units)))

    def _heads(self, x: Any) -> Any:
        return ops.reshape(x, (*ops.shape(x)[:2], x.shape[-1] // self.head_dim, self.head_dim))

    def compute_output_spec(self, x: Any, rotation: Any, attention_mask: Any, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("vertebra_gemma")
class RMSNormalization(keras.layers.Layer):
    """Divides by the root mean square and multiplies by `1 + scale`, in float32 (arXiv:1910.07467)."""

    def __init__(self, epsilon: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, shape: Any) -> None:
        # Not cast to the compute dtype: 1 + scale would lose precision.
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="zeros", autocast=False)

    def call(self, x: Any) -> Any:
        return ops.rms_normalization(x, 1 + ops.cast(self.scale, "float32"), epsilon=self.epsilon)

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"epsilon": self.epsilon}


@keras.saving.register_keras_serializable("vertebra_gemma")
class AttentionMask(layers.CausalMask):
    """`vertebra.layers.CausalMask` under the name that `.keras` files have for it."""


@keras.saving.register_keras_serializable("vertebra_gemma")
class BidirectionalMask(keras.layers.Layer):
    """Computes the positions to which each position attends: all tokens, or those near it on either side.

    The input is a padding mask of shape `(batch, length)`, the output a bool tensor of shape
    `(batch, 1, length, length)`. Padding attends to itself, too: otherwise, its softmax would be 0 / 0.

    Args:
        window: Twice the number of tokens on either side, or that and one more; None means all.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, window: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = window

    def call(self, padding_mask: Any) -> Any:
        positions = ops.arange(ops.shape(padding_mask)[1], dtype="int32")
        distance = ops.abs(positions[:, None] - positions[None, :])
        tokens = ops.cast(padding_mask, "bool")[:, None, None, :]
        seen = ops.logical_or(tokens, distance == 0)
        return seen if self.window is None else ops.logical_and(seen, distance <= reach(self.window))

    def compute_output_spec(self, padding_mask: Any) -> Any:
        batch, length = padding_mask.shape
        return keras.KerasTensor((batch, 1, length, length), dtype="bool")

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"window": self.window}


@keras.saving.register_keras_serializable("vertebra_gemma")
class RotaryEmbedding(layers.RotaryEmbedding):
    """`vertebra.layers.RotaryEmbedding` under the name that `.keras` files have for it."""


def _kernel_initializer(arguments: Mapping[str, Any]) -> Any:
    """Returns a new initialiser; weights that share an initialiser would get the same numbers."""
    if arguments["initializer_range"] is None:
        return keras.initializers.GlorotUniform()
    return keras.initializers.RandomNormal(stddev=arguments["initializer_range"])
