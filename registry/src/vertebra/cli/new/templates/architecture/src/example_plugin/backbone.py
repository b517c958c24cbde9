"""The network: a token embedding, decoder blocks, and a normalisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops
from vertebra import Backbone, hints, layers

from example_plugin import layout


@keras.saving.register_keras_serializable("example_plugin")
class ExamplePluginBackbone(Backbone):
    """A decoder with rotary positions, grouped heads and a gated feed-forward network.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `padding_mask`, 1 for a token and 0 for
    padding, which may be on either side.

    Output: the hidden states, of shape `(batch, length, hidden_dim)`; `token_embedding(states, reverse=True)` returns
    their logits.

    Args:
        vocabulary_size: Number of tokens.
        num_layers: Number of blocks.
        num_heads: Number of heads of the queries; it divides `hidden_dim` into even widths.
        num_key_value_heads: Number of heads of keys and values; it divides `num_heads`.
        hidden_dim: Width of the hidden states.
        intermediate_dim: Width of the feed-forward network.
        rotary_base: Base of the wavelengths of rotary positions.
        epsilon: Added to the mean square in normalisation.
        **kwargs: `dtype`, `trainable` and `name`, as in `vertebra.Backbone`.
    """

    lora_roles: ClassVar[Mapping[str, Sequence[str]]] = layout.ROLES

    def __init__(
        self,
        vocabulary_size: hints.Size,
        num_layers: hints.Layers,
        num_heads: hints.Size,
        num_key_value_heads: hints.Size,
        hidden_dim: hints.Size,
        intermediate_dim: hints.Size,
        rotary_base: hints.Positive = 10_000.0,
        epsilon: hints.Positive = 1e-6,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        # The hints of the arguments say which types and ranges are valid.
        arguments = hints.checked(ExamplePluginBackbone.__init__, locals())
        if hidden_dim % (2 * num_heads) or num_heads % num_key_value_heads:
            sizes = {name: arguments[name] for name in ("hidden_dim", "num_heads", "num_key_value_heads")}
            raise ValueError(f"{sizes}, expected hidden_dim to be a multiple of 2 * num_heads, and heads to divide.")
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
        embedding = keras.layers.ReversibleEmbedding(vocabulary_size, hidden_dim, dtype=dtype, name="token_embedding")
        x = embedding(inputs["token_ids"])
        mask = CausalMask(dtype=dtype, name="causal_mask")(inputs["padding_mask"])
        head_dim = hidden_dim // num_heads
        rotation = layers.RotaryEmbedding(head_dim, rotary_base, dtype=dtype, name="rotary_embedding")(x)
        for number in range(num_layers):
            x = DecoderBlock(arguments, dtype=dtype, name=f"block_{number}")(x, rotation=rotation, attention_mask=mask)
        x = keras.layers.RMSNormalization(epsilon=epsilon, dtype=dtype, name="norm")(x)
        super().__init__(inputs=inputs, outputs=x, arguments=arguments, dtype=dtype, **kwargs)
        self.token_embedding = embedding


@keras.saving.register_keras_serializable("example_plugin")
class DecoderBlock(keras.layers.Layer):
    """Attention, then a gated feed-forward network; each after a normalisation, and with a residual path."""

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments, dtype = dict(arguments), self.dtype_policy
        width, inner, epsilon = (arguments[name] for name in ("hidden_dim", "intermediate_dim", "epsilon"))
        self.attention_norm = keras.layers.RMSNormalization(epsilon=epsilon, dtype=dtype, name="attention_norm")
        self.attention = SelfAttention(arguments, dtype=dtype, name="attention")
        self.mlp_norm = keras.layers.RMSNormalization(epsilon=epsilon, dtype=dtype, name="mlp_norm")
        self.gate = keras.layers.Dense(inner, "silu", use_bias=False, dtype=dtype, name="gate")
        self.up = keras.layers.Dense(inner, use_bias=False, dtype=dtype, name="up")
        self.down = keras.layers.Dense(width, use_bias=False, dtype=dtype, name="down")

    def build(self, shape: Any) -> None:
        for layer in (self.attention_norm, self.attention, self.mlp_norm, self.gate, self.up):
            layer.build(shape)
        self.down.build((*shape[:-1], self.gate.units))

    def call(self, x: Any, rotation: Any, attention_mask: Any) -> Any:
        x = x + self.attention(self.attention_norm(x), rotation=rotation, attention_mask=attention_mask)
        normed = self.mlp_norm(x)
        return x + self.down(self.gate(normed) * self.up(normed))

    def compute_output_spec(self, x: Any, rotation: Any, attention_mask: Any) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config | {"arguments": self.arguments}


class SelfAttention(keras.layers.Layer):
    """Attention of a sequence on itself, with rotated queries and keys; groups of heads share keys and values."""

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        heads, shared = arguments["num_heads"], arguments["num_key_value_heads"]
        self.groups, self.head_dim = heads // shared, arguments["hidden_dim"] // heads
        self.query = self._projection("query", heads)
        self.key = self._projection("key", shared)
        self.value = self._projection("value", shared)
        self.output_projection = self._projection("output", heads)

    def _projection(self, name: str, heads: int) -> Any:
        return keras.layers.Dense(heads * self.head_dim, use_bias=False, dtype=self.dtype_policy, name=name)

    def build(self, shape: Any) -> None:
        for layer in (self.query, self.key, self.value, self.output_projection):
            layer.build(shape)

    def call(self, x: Any, rotation: Any, attention_mask: Any) -> Any:
        query = layers.rotate(self._heads(self.query(x)), rotation)
        key = layers.rotate(self._heads(self.key(x)), rotation)
        key, value = (ops.repeat(each, self.groups, axis=2) for each in (key, self._heads(self.value(x))))
        attended = layers.attend(query, key, value, mask=attention_mask)  # the fastest kernel of the runtime
        return self.output_projection(ops.reshape(attended, ops.shape(x)))

    def _heads(self, x: Any) -> Any:
        return ops.reshape(x, (*ops.shape(x)[:2], x.shape[-1] // self.head_dim, self.head_dim))

    def compute_output_spec(self, x: Any, rotation: Any, attention_mask: Any) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("example_plugin")
class CausalMask(keras.layers.Layer):
    """The positions to which each position attends, as bools of shape `(batch, 1, length, length)`.

    They are the tokens before it, and itself: a row without any would be 0 / 0 in a softmax.
    """

    def call(self, padding_mask: Any) -> Any:
        positions = ops.arange(ops.shape(padding_mask)[1], dtype="int32")
        queries, keys = positions[:, None], positions[None, :]
        tokens = ops.cast(padding_mask, "bool")[:, None, None, :]
        return ops.logical_or(ops.logical_and(keys < queries, tokens), keys == queries)

    def compute_output_spec(self, padding_mask: Any) -> Any:
        batch, length = padding_mask.shape
        return keras.KerasTensor((batch, 1, length, length), dtype="bool")
