"""The layer of a vision transformer: normalisation, then attention or a feed-forward network, and a residual path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from vertebra import activations, layers


@keras.saving.register_keras_serializable("vertebra_vit")
class VisionLayer(keras.layers.Layer):  # type: ignore[misc]
    """Self-attention, then a feed-forward network, each behind its normalisation (pre-norm).

    Input and output are floats of shape `(batch, tokens, hidden_dim)`.

    Args:
        arguments: `num_heads`, `hidden_dim`, `intermediate_dim`, `activation`, `layer_norm_epsilon` and
            `initializer_range`; the rates `dropout` (of both results), `attention_dropout` (of probabilities) and
            `drop_path` (stochastic depth, Huang et al. 2016, arXiv:1603.09382); whether there are biases, `qkv_bias`,
            `output_bias` and `mlp_bias`; the initial value of `layer_scale` (Touvron et al. 2021, arXiv:2103.17239)
            or None for none; and `gated`, for SwiGLU (Shazeer 2020, arXiv:2002.05202).
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = dict(arguments)
        self.attention_norm = self._norm("self_attention_layer_norm")
        self.attention = layers.SelfAttention(arguments, dtype=self.dtype_policy, name="self_attention")
        self.attention_scale = self._scale("self_attention_scale")
        self.feedforward_norm = self._norm("feedforward_layer_norm")
        function = activations.activation(arguments["activation"])
        gated, width = arguments["gated"], arguments["intermediate_dim"]
        self.gate = self._dense(width, "feedforward_gate_dense", function) if gated else None
        self.up = self._dense(width, "feedforward_intermediate_dense", None if gated else function)
        self.down = self._dense(arguments["hidden_dim"], "feedforward_output_dense")
        self.feedforward_scale = self._scale("feedforward_scale")
        self.dropout = layers.Dropout(arguments["dropout"], dtype=self.dtype_policy, name="dropout")
        self.drop_path = keras.layers.Dropout(
            arguments["drop_path"], noise_shape=(None, 1, 1), dtype=self.dtype_policy, name="drop_path"
        )

    def _norm(self, name: str) -> Any:
        epsilon = self.arguments["layer_norm_epsilon"]
        return keras.layers.LayerNormalization(epsilon=epsilon, dtype=self.dtype_policy, name=name)

    def _dense(self, width: int, name: str, activation: Any = None) -> Any:
        initializer = keras.initializers.TruncatedNormal(stddev=self.arguments["initializer_range"])
        bias = self.arguments["mlp_bias"]
        return keras.layers.Dense(
            width, activation, use_bias=bias, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
        )

    def _scale(self, name: str) -> Any:
        value = self.arguments["layer_scale"]
        return None if value is None else LayerScale(value, dtype=self.dtype_policy, name=name)

    def build(self, shape: Any) -> None:
        """Creates the weights, for inputs of a shape."""
        scales = (self.attention_scale, self.feedforward_scale)
        for layer in (self.attention_norm, self.attention, self.feedforward_norm, self.gate, self.up, *scales):
            if layer is not None:
                layer.build(shape)
        self.down.build((*shape[:-1], self.up.units))

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Computes the output."""
        attended = self.attention(self.attention_norm(x), training=training)
        x = x + self._branch(attended, self.attention_scale, training)
        normed = self.feedforward_norm(x)
        hidden = self.up(normed) if self.gate is None else self.gate(normed) * self.up(normed)
        return x + self._branch(self.down(hidden), self.feedforward_scale, training)

    def _branch(self, x: Any, scale: Any, training: bool | None) -> Any:
        x = self.dropout(x, training=training)
        return self.drop_path(x if scale is None else scale(x), training=training)

    def compute_output_spec(self, x: Any, training: bool | None = None) -> Any:
        """Returns shape and dtype of the output."""
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config: dict[str, Any] = super().get_config()
        return config | {"arguments": dict(self.arguments)}


@keras.saving.register_keras_serializable("vertebra_vit")
class LayerScale(keras.layers.Layer):  # type: ignore[misc]
    """Multiplies each channel by a weight (Touvron et al. 2021, arXiv:2103.17239).

    Args:
        value: Initial value of the weights.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, value: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value = value

    def build(self, shape: Any) -> None:
        """Creates the weights, for inputs of a shape."""
        initializer = keras.initializers.Constant(self.value)
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer=initializer)

    def call(self, x: Any) -> Any:
        """Computes the output."""
        return ops.multiply(x, self.scale)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config: dict[str, Any] = super().get_config()
        return config | {"value": self.value}
