"""BERT (Devlin et al. 2018, arXiv:1810.04805): token, position and segment embeddings, then a transformer encoder.

ELECTRA (Clark et al. 2020, arXiv:2003.10555) is the same network, with a projection between the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras

from vertebra import Backbone, hints, layers
from vertebra_bert import layout

_INPUTS = ("token_ids", "segment_ids", "padding_mask")


@keras.saving.register_keras_serializable("vertebra_bert")
class BertBackbone(Backbone):
    """A BERT encoder.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `segment_ids`, the number of the segment that
    each token belongs to; `padding_mask`, 1 for a token and 0 for padding. A batch may have no rows, and its sequences
    must have tokens.

    Outputs: `sequence_output` of shape `(batch, length, hidden_dim)`, and with a pooler, `pooled_output` of shape
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
        activation: Activation of the feed-forward layers, one of `vertebra.activations.NAMES`. KerasHub always
            uses the tanh approximation of GELU; original checkpoints are trained with the exact one, `gelu`.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        attention_dropout: Dropout rate of the attention probabilities, or None for `dropout`.
        initializer_range: Standard deviation of newly initialised kernels and embeddings.
        embedding_dim: Width of the embeddings, which a dense layer projects to `hidden_dim` as in ELECTRA, or None for
            `hidden_dim` without a projection.
        pooler: Whether there is a pooled output.
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
        num_segments: hints.Size = 2,
        dtype: Any = None,
        *,
        activation: hints.Activation = "gelu_approximate",
        layer_norm_epsilon: hints.Positive = 1e-12,
        attention_dropout: hints.Rate | None = None,
        initializer_range: hints.Deviation = 0.02,
        embedding_dim: hints.Size | None = None,
        pooler: hints.Flag = True,
        **kwargs: Any,
    ) -> None:
        arguments = hints.checked(BertBackbone.__init__, locals())
        if hidden_dim % num_heads:
            raise ValueError(f"num_heads={num_heads!r}, expected a divisor of hidden_dim={hidden_dim}.")
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in _INPUTS}
        network = _Layers(arguments, dtype)
        outputs = network.connect(**inputs)
        super().__init__(inputs=inputs, outputs=outputs, arguments=arguments, dtype=dtype, **kwargs)
        self.token_embedding, self.segment_embedding = network.token_embedding, network.segment_embedding
        self.position_embedding, self.embeddings_layer_norm = network.position_embedding, network.embeddings_layer_norm
        self.embeddings_add, self.embeddings_dropout = network.embeddings_add, network.embeddings_dropout
        self.embeddings_projection = network.embeddings_projection
        self.transformer_layers, self.pooled_dense = network.transformer_layers, network.pooled_dense
        self.cls_token_index = 0


@keras.saving.register_keras_serializable("vertebra_bert")
class ElectraBackbone(BertBackbone):
    """An ELECTRA encoder: `BertBackbone`, with the names of ELECTRA in other formats.

    Checkpoints of transformers have `pooler=False`, and most have an `embedding_dim`.
    """


class _Layers:
    """The layers of a backbone, and how they are connected."""

    def __init__(self, arguments: Mapping[str, Any], dtype: Any) -> None:
        self.arguments, self.dtype = arguments, dtype
        self.token_embedding = self._embedding(
            keras.layers.ReversibleEmbedding, "vocabulary_size", name="token_embedding"
        )
        self.position_embedding = self._embedding(PositionEmbedding, "max_sequence_length", name="position_embedding")
        self.segment_embedding = self._embedding(keras.layers.Embedding, "num_segments", name="segment_embedding")
        self.embeddings_add = keras.layers.Add(dtype=dtype, name="embeddings_add")
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            epsilon=arguments["layer_norm_epsilon"], dtype=dtype, name="embeddings_layer_norm"
        )
        self.embeddings_dropout = layers.Dropout(arguments["dropout"], dtype=dtype, name="embeddings_dropout")
        names = [f"transformer_layer_{i}" for i in range(arguments["num_layers"])]
        self.transformer_layers = [TransformerLayer(arguments, dtype=dtype, name=name) for name in names]
        self.embeddings_projection = None
        if self._embedding_dim != arguments["hidden_dim"]:
            self.embeddings_projection = self._dense("embeddings_projection")
        self.pooled_dense = self._dense("pooled_dense", "tanh") if arguments["pooler"] else None
        self.first_token = layers.FirstToken(dtype=dtype, name="first_token")
        self.unpad, self.pad = layers.Unpad(dtype=dtype, name="unpad"), layers.Pad(dtype=dtype, name="pad")

    @property
    def _embedding_dim(self) -> int:
        return self.arguments["embedding_dim"] or self.arguments["hidden_dim"]

    def _embedding(self, kind: Any, rows: str, name: str) -> Any:
        initializer = _initializer(self.arguments)
        return kind(
            self.arguments[rows], self._embedding_dim, embeddings_initializer=initializer, dtype=self.dtype, name=name
        )

    def _dense(self, name: str, activation: str | None = None) -> Any:
        width, initializer = self.arguments["hidden_dim"], _initializer(self.arguments)
        return keras.layers.Dense(width, activation, kernel_initializer=initializer, dtype=self.dtype, name=name)

    def connect(self, token_ids: Any, segment_ids: Any, padding_mask: Any) -> dict[str, Any]:
        tokens = self.token_embedding(token_ids)
        embeddings = [tokens, self.position_embedding(tokens), self.segment_embedding(segment_ids)]
        x = self.embeddings_dropout(self.embeddings_layer_norm(self.embeddings_add(embeddings)))
        if self.embeddings_projection is not None:
            x = self.embeddings_projection(x)
        x = self.unpad(x)
        for layer in self.transformer_layers:
            x = layer(x, padding_mask=padding_mask)
        x = self.pad(x, padding_mask)
        if self.pooled_dense is None:
            return {"sequence_output": x}
        return {"sequence_output": x, "pooled_output": self.pooled_dense(self.first_token(x))}


@keras.saving.register_keras_serializable("vertebra_bert")
class TransformerLayer(layers.EncoderLayer):
    """`vertebra.layers.EncoderLayer` under the name that `.keras` files have for it."""


@keras.saving.register_keras_serializable("vertebra_bert")
class PositionEmbedding(layers.PositionEmbedding):
    """`vertebra.layers.PositionEmbedding` under the name that `.keras` files have for it."""


def _initializer(arguments: Mapping[str, Any]) -> Any:
    """Returns a new initialiser; weights that share an initialiser would get the same numbers."""
    return keras.initializers.TruncatedNormal(stddev=arguments["initializer_range"])
