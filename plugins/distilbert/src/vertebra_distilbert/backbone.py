"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108): BERT without segments and pooler, with half of the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras

from vertebra import Backbone, hints, layers
from vertebra_distilbert import layout

_EPSILON = 1e-12
"""Added to the variance in layer normalisation."""


@keras.saving.register_keras_serializable("vertebra_distilbert")
class DistilBertBackbone(Backbone):
    """A DistilBERT encoder.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `padding_mask`, 1 for a token and 0 for
    padding.

    Output: `sequence_output` of shape `(batch, length, hidden_dim)`.

    As in transformers, the output of attention has no dropout of its own; KerasHub 0.32 has one there.

    Args:
        vocabulary_size: Number of tokens.
        num_layers: Number of transformer layers.
        num_heads: Number of attention heads; it divides `hidden_dim`.
        hidden_dim: Width of the hidden states.
        intermediate_dim: Width of the feed-forward layers.
        dropout: Dropout rate of embeddings and feed-forward layers, in [0, 1).
        max_sequence_length: Number of positions; longer inputs are an error.
        activation: Activation of the feed-forward layers, one of `vertebra.activations.NAMES`.
        attention_dropout: Dropout rate of the attention probabilities, or None for `dropout`.
        initializer_range: Standard deviation of newly initialised kernels and embeddings.
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
        max_sequence_length: hints.Size = 512,
        dtype: Any = None,
        *,
        activation: hints.Activation = "gelu",
        attention_dropout: hints.Rate | None = None,
        initializer_range: hints.Deviation = 0.02,
        **kwargs: Any,
    ) -> None:
        arguments = hints.checked(DistilBertBackbone.__init__, locals())
        if hidden_dim % num_heads:
            raise ValueError(f"num_heads={num_heads!r}, expected a divisor of hidden_dim={hidden_dim}.")
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
        network = _Layers(arguments, dtype)
        outputs = network.connect(**inputs)
        super().__init__(inputs=inputs, outputs=outputs, arguments=arguments, dtype=dtype, **kwargs)
        self.token_embedding, self.position_embedding = network.token_embedding, network.position_embedding
        self.embeddings_add, self.embeddings_layer_norm = network.embeddings_add, network.embeddings_layer_norm
        self.embeddings_dropout, self.transformer_layers = network.embeddings_dropout, network.transformer_layers
        self.cls_token_index = 0


class _Layers:
    """The layers of a backbone, and how they are connected."""

    def __init__(self, arguments: Mapping[str, Any], dtype: Any) -> None:
        self.arguments, self.dtype = arguments, dtype
        self.token_embedding = self._embedding(
            keras.layers.ReversibleEmbedding, "vocabulary_size", name="token_embedding"
        )
        self.position_embedding = self._embedding(
            layers.PositionEmbedding, "max_sequence_length", name="position_embedding"
        )
        self.embeddings_add = keras.layers.Add(dtype=dtype, name="embeddings_add")
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            epsilon=_EPSILON, dtype=dtype, name="embeddings_layer_norm"
        )
        self.embeddings_dropout = layers.Dropout(arguments["dropout"], dtype=dtype, name="embeddings_dropout")
        names = [f"transformer_layer_{i}" for i in range(arguments["num_layers"])]
        fixed = {"layer_norm_epsilon": _EPSILON, "attention_output_dropout": 0.0}
        self.transformer_layers = [
            layers.EncoderLayer({**arguments, **fixed}, dtype=dtype, name=name) for name in names
        ]
        self.unpad, self.pad = layers.Unpad(dtype=dtype, name="unpad"), layers.Pad(dtype=dtype, name="pad")

    def _embedding(self, kind: Any, rows: str, name: str) -> Any:
        width, initializer = self.arguments["hidden_dim"], _initializer(self.arguments)
        return kind(self.arguments[rows], width, embeddings_initializer=initializer, dtype=self.dtype, name=name)

    def connect(self, token_ids: Any, padding_mask: Any) -> dict[str, Any]:
        tokens = self.token_embedding(token_ids)
        x = self.embeddings_add([tokens, self.position_embedding(tokens)])
        x = self.embeddings_dropout(self.embeddings_layer_norm(x))
        x = self.unpad(x)
        for layer in self.transformer_layers:
            x = layer(x, padding_mask=padding_mask)
        x = self.pad(x, padding_mask)
        return {"sequence_output": x}


def _initializer(arguments: Mapping[str, Any]) -> Any:
    """Returns a new initialiser; weights that share an initialiser would get the same numbers."""
    return keras.initializers.TruncatedNormal(stddev=arguments["initializer_range"])
