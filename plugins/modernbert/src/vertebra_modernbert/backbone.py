"""ModernBERT (Warner et al. 2024, arXiv:2412.13663): an encoder with rotary positions, gates and local attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import keras
from keras import ops

from vertebra import Backbone, activations, hints, layers
from vertebra_modernbert import layout

SLIDING, FULL = "sliding_attention", "full_attention"
"""The two types of layers."""
_FULL_EVERY = 3


@keras.saving.register_keras_serializable("vertebra_modernbert")
class ModernBertBackbone(Backbone):
    """A ModernBERT encoder.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `padding_mask`, 1 for a token and 0 for
    padding, which may be on either side.

    Output: `sequence_output` of shape `(batch, length, hidden_dim)`.

    Within `vertebra.layers.computing(tokens)`, as in tasks, padding is not computed, apart from attention; the paper's
    network has kernels for GPUs whose attention does not compute it, either.

    Args:
        vocabulary_size: Number of tokens.
        num_layers: Number of transformer layers.
        num_heads: Number of attention heads; it divides `hidden_dim` into an even width of heads.
        hidden_dim: Width of the hidden states.
        intermediate_dim: Width of the feed-forward layers, of the gate and of the gated projection each.
        dropout: Dropout rate of the feed-forward layers, in [0, 1).
        max_sequence_length: Number of positions that the model is trained for; longer inputs are no error.
        attention_dropout: Dropout rate of attention probabilities and of the output of attention.
        embedding_dropout: Dropout rate of the embeddings.
        local_attention: Width of the window of layers with local attention: a token attends to those with a distance
            of at most half of it.
        layer_types: `"sliding_attention"` or `"full_attention"` for each layer; None means `"full_attention"` for the
            layers 0, 3, 6, …, and `"sliding_attention"` for all others.
        global_max_wavelength: Base of the wavelengths of rotary position embeddings in layers with full attention.
        local_max_wavelength: The same in layers with local attention.
        activation: Activation of the feed-forward layers' gate, one of `vertebra.activations.NAMES`.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        norm_bias: Whether layer normalisation has a bias.
        attention_bias: Whether the projections of attention have biases.
        feedforward_bias: Whether the projections of the feed-forward layers have biases.
        initializer_range: Standard deviation of newly initialised kernels and embeddings; that of the projections
            which lead back to the hidden states is smaller by the square root of `2 * num_layers`.
        **kwargs: `dtype`, `trainable` and `name`, as in `vertebra.Backbone`.

    Raises:
        ValueError: an argument is of another type than expected or out of range, does not divide another as required,
            or contradicts another.
    """

    lora_roles: ClassVar[Mapping[str, Sequence[str]]] = layout.ROLES

    def __init__(
        self,
        vocabulary_size: hints.Size,
        num_layers: hints.Layers,
        num_heads: hints.Size,
        hidden_dim: hints.Size,
        intermediate_dim: hints.Size,
        dropout: hints.Rate = 0.0,
        max_sequence_length: hints.Size = 8192,
        dtype: Any = None,
        *,
        attention_dropout: hints.Rate = 0.0,
        embedding_dropout: hints.Rate = 0.0,
        local_attention: hints.Size = 128,
        layer_types: Sequence[str] | None = None,
        global_max_wavelength: hints.Positive = 160_000.0,
        local_max_wavelength: hints.Positive = 10_000.0,
        activation: hints.Activation = "gelu",
        layer_norm_epsilon: hints.Positive = 1e-5,
        norm_bias: hints.Flag = False,
        attention_bias: hints.Flag = False,
        feedforward_bias: hints.Flag = False,
        initializer_range: hints.Deviation = 0.02,
        **kwargs: Any,
    ) -> None:
        arguments = hints.checked(ModernBertBackbone.__init__, locals())
        if hidden_dim % num_heads or hidden_dim // num_heads % 2:
            expected = f"a divisor of hidden_dim={hidden_dim} into heads of an even width"
            raise ValueError(f"num_heads={num_heads!r}, expected {expected}.")
        _check_layer_types(arguments)
        arguments["layer_types"] = None if layer_types is None else list(layer_types)
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
        network = _Layers(arguments, dtype)
        outputs = network.connect(**inputs)
        super().__init__(inputs=inputs, outputs=outputs, arguments=arguments, dtype=dtype, **kwargs)
        self.token_embedding, self.embeddings_layer_norm = network.token_embedding, network.embeddings_layer_norm
        self.embeddings_dropout, self.transformer_layers = network.embeddings_dropout, network.transformer_layers
        self.layer_norm = network.final_norm
        self.cls_token_index = 0


class _Layers:
    """The layers of a backbone, and how they are connected."""

    def __init__(self, arguments: Mapping[str, Any], dtype: Any) -> None:
        self.types = _layer_types(arguments)
        self.token_embedding = keras.layers.ReversibleEmbedding(
            arguments["vocabulary_size"],
            arguments["hidden_dim"],
            embeddings_initializer=_initializer(arguments["initializer_range"]),
            dtype=dtype,
            name="token_embedding",
        )
        self.embeddings_layer_norm = _norm(arguments, dtype, "embeddings_layer_norm")
        self.embeddings_dropout = layers.Dropout(arguments["embedding_dropout"], dtype=dtype, name="embeddings_dropout")
        head_dim = arguments["hidden_dim"] // arguments["num_heads"]
        wavelengths = {SLIDING: arguments["local_max_wavelength"], FULL: arguments["global_max_wavelength"]}
        windows = {SLIDING: arguments["local_attention"], FULL: None}
        kinds = sorted(set(self.types))
        self.rotations = {
            kind: layers.RotaryEmbedding(head_dim, wavelengths[kind], dtype=dtype, name=f"{kind}_rotation")
            for kind in kinds
        }
        self.masks = {kind: AttentionMask(windows[kind], dtype=dtype, name=f"{kind}_mask") for kind in kinds}
        self.transformer_layers = [
            TransformerLayer(arguments, has_norm=i > 0, dtype=dtype, name=f"transformer_layer_{i}")
            for i in range(arguments["num_layers"])
        ]
        self.final_norm = _norm(arguments, dtype, "layer_norm")
        self.unpad, self.pad = layers.Unpad(dtype=dtype, name="unpad"), layers.Pad(dtype=dtype, name="pad")

    def connect(self, token_ids: Any, padding_mask: Any) -> dict[str, Any]:
        # Many layers share rotations and masks, so they are computed once.
        rotations = {kind: layer(token_ids) for kind, layer in self.rotations.items()}
        masks = {kind: layer(padding_mask) for kind, layer in self.masks.items()}
        x = self.embeddings_dropout(self.embeddings_layer_norm(self.token_embedding(token_ids)))
        x = self.unpad(x)
        for layer, kind in zip(self.transformer_layers, self.types, strict=True):
            x = layer(x, rotation=rotations[kind], attention_mask=masks[kind])
        x = self.pad(self.final_norm(x), padding_mask)
        return {"sequence_output": x}


@keras.saving.register_keras_serializable("vertebra_modernbert")
class TransformerLayer(keras.layers.Layer):
    """Self-attention, then a gated feed-forward network (arXiv:2002.05202), each after a norm and with a residual path.

    Args:
        arguments: The backbone's arguments.
        has_norm: Whether there is a norm before attention; the first layer has none, because it follows one.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, arguments: Mapping[str, Any], has_norm: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments, self.has_norm, dtype = dict(arguments), has_norm, self.dtype_policy
        self.attention_norm = _norm(arguments, dtype, "self_attention_layer_norm") if has_norm else None
        self.attention = SelfAttention(arguments, dtype=dtype, name="self_attention")
        self.feedforward_norm = _norm(arguments, dtype, "feedforward_layer_norm")
        function = activations.activation(arguments["activation"])
        self.gate = self._dense("feedforward_gate_dense", function)
        self.up = self._dense("feedforward_intermediate_dense")
        self.down = keras.layers.Dense(
            arguments["hidden_dim"],
            use_bias=arguments["feedforward_bias"],
            kernel_initializer=_initializer(_output_range(arguments)),
            dtype=dtype,
            name="feedforward_output_dense",
        )
        self.dropout = layers.Dropout(arguments["dropout"], dtype=dtype, name="feedforward_dropout")

    def _dense(self, name: str, activation: Any = None) -> Any:
        return keras.layers.Dense(
            self.arguments["intermediate_dim"],
            activation,
            use_bias=self.arguments["feedforward_bias"],
            kernel_initializer=_initializer(self.arguments["initializer_range"]),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, shape: Any) -> None:
        for layer in filter(None, (self.attention_norm, self.attention, self.feedforward_norm, self.gate, self.up)):
            layer.build(shape)
        self.down.build((*shape[:-1], self.up.units))

    def call(self, x: Any, rotation: Any, attention_mask: Any, training: bool | None = None) -> Any:
        normed = x if self.attention_norm is None else self.attention_norm(x)
        x = x + self.attention(normed, rotation=rotation, attention_mask=attention_mask, training=training)
        normed = self.feedforward_norm(x)
        return x + self.down(self.dropout(self.gate(normed) * self.up(normed), training=training))

    def compute_output_spec(self, x: Any, rotation: Any, attention_mask: Any, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"arguments": dict(self.arguments), "has_norm": self.has_norm}


class SelfAttention(keras.layers.Layer):
    """Multi-head attention of a sequence on itself, with rotated queries and keys (arXiv:2104.09864)."""

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads, self.rate = arguments["num_heads"], arguments["attention_dropout"]

        def projection(name: str, deviation: float) -> Any:
            return keras.layers.Dense(
                arguments["hidden_dim"],
                use_bias=arguments["attention_bias"],
                kernel_initializer=_initializer(deviation),
                dtype=self.dtype_policy,
                name=name,
            )

        deviation = arguments["initializer_range"]
        self.query, self.key = projection("query", deviation), projection("key", deviation)
        self.value = projection("value", deviation)
        self.attention_output = projection("attention_output", _output_range(arguments))
        self.dropout = layers.Dropout(self.rate, dtype=self.dtype_policy, name="attention_dropout")
        self.output_dropout = layers.Dropout(self.rate, dtype=self.dtype_policy, name="attention_output_dropout")

    def build(self, shape: Any) -> None:
        for layer in (self.query, self.key, self.value, self.attention_output):
            layer.build(shape)

    def call(self, x: Any, rotation: Any, attention_mask: Any, training: bool | None = None) -> Any:
        heads = (*ops.shape(x)[:2], self.num_heads, x.shape[-1] // self.num_heads)
        query, key, value = (
            layers.padded(ops.reshape(layer(x), heads)) for layer in (self.query, self.key, self.value)
        )
        query, key = layers.rotate(query, rotation), layers.rotate(key, rotation)
        dropout = partial(self.dropout, training=True) if self.rate and training else None
        mixed = layers.unpadded(layers.attend(query, key, value, mask=attention_mask, dropout=dropout))
        return self.output_dropout(self.attention_output(ops.reshape(mixed, ops.shape(x))), training=training)

    def compute_output_spec(self, x: Any, rotation: Any, attention_mask: Any, training: bool | None = None) -> Any:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("vertebra_modernbert")
class AttentionMask(keras.layers.Layer):
    """Computes the positions to which each position attends: all tokens, or those within a window around it.

    The input is a padding mask of shape `(batch, length)`, the output a bool tensor of shape `(batch, 1, 1, length)`,
    or with a window `(batch, 1, length, length)`. Then padding attends to itself, too: its softmax would be 0 / 0.
    """

    def __init__(self, window: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = window

    def call(self, padding_mask: Any) -> Any:
        tokens = ops.cast(padding_mask, "bool")[:, None, None, :]
        if self.window is None:
            return tokens
        positions = ops.arange(ops.shape(padding_mask)[1], dtype="int32")
        distance = ops.abs(positions[:, None] - positions[None, :])
        return ops.logical_and(distance <= self.window // 2, ops.logical_or(tokens, distance == 0))

    def compute_output_spec(self, padding_mask: Any) -> Any:
        batch, length = padding_mask.shape
        return keras.KerasTensor((batch, 1, 1 if self.window is None else length, length), dtype="bool")

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"window": self.window}


def _layer_types(arguments: Mapping[str, Any]) -> Sequence[str]:
    if arguments["layer_types"] is not None:
        return arguments["layer_types"]
    return [SLIDING if i % _FULL_EVERY else FULL for i in range(arguments["num_layers"])]


def _check_layer_types(arguments: Mapping[str, Any]) -> None:
    types, count = arguments["layer_types"], arguments["num_layers"]
    is_list = isinstance(types, list | tuple)
    if types is not None and not (is_list and len(types) == count and all(kind in (SLIDING, FULL) for kind in types)):
        expected = f"None, or for each of the {count} layers {SLIDING!r} or {FULL!r}"
        raise ValueError(f"layer_types={types!r}, expected {expected}.")


def _norm(arguments: Mapping[str, Any], dtype: Any, name: str) -> Any:
    epsilon, bias = arguments["layer_norm_epsilon"], arguments["norm_bias"]
    return keras.layers.LayerNormalization(epsilon=epsilon, center=bias, dtype=dtype, name=name)


def _output_range(arguments: Mapping[str, Any]) -> float:
    return arguments["initializer_range"] / (2 * arguments["num_layers"]) ** 0.5


def _initializer(deviation: float) -> Any:
    """Returns a new initialiser; weights that share an initialiser would get the same numbers."""
    return keras.initializers.TruncatedNormal(stddev=deviation)
