"""RoBERTa (Liu et al. 2019, arXiv:1907.11692): token, position and segment embeddings, then a transformer encoder.

XLM-RoBERTa (Conneau et al. 2020, arXiv:1911.02116) and CamemBERT (Martin et al. 2020, arXiv:1911.03894) are the same
network with other vocabularies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from vertebra import Backbone, hints, layers
from vertebra_roberta import layout


@keras.saving.register_keras_serializable("vertebra_roberta")
class RobertaBackbone(Backbone):
    """A RoBERTa encoder.

    Inputs, each of shape `(batch, length)` and dtype int32: `token_ids`; `padding_mask`, 1 for a token and 0 for
    padding; with several segments, `segment_ids`, the number of the segment that each token belongs to.

    Positions are counted from the token ids, as in transformers: padding, tokens with the id `pad_token_id`, has no
    position, so that it may be on either side. Tokens with another id are counted even if the padding mask is 0.
    KerasHub 0.32 counts all tokens, so that padding on the left changes its outputs.

    Outputs: `sequence_output` of shape `(batch, length, hidden_dim)`, and with a pooler, `pooled_output` of shape
    `(batch, hidden_dim)`, a dense layer with tanh on the first token.

    Args:
        vocabulary_size: Number of tokens.
        num_layers: Number of transformer layers.
        num_heads: Number of attention heads; it divides `hidden_dim`.
        hidden_dim: Width of the hidden states.
        intermediate_dim: Width of the feed-forward layers.
        dropout: Dropout rate of embeddings, attention and feed-forward layers, in [0, 1).
        max_sequence_length: Number of positions; longer inputs are an error. transformers' `max_position_embeddings`
            is larger by `pad_token_id + 1`.
        num_segments: Number of segments; with one, there is no input for them.
        pad_token_id: Id of the padding token, below `vocabulary_size`.
        activation: Activation of the feed-forward layers, one of `vertebra.activations.NAMES`.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        attention_dropout: Dropout rate of the attention probabilities, or None for `dropout`.
        initializer_range: Standard deviation of newly initialised kernels and embeddings.
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
        dtype: Any = None,
        *,
        num_segments: hints.Size = 1,
        pad_token_id: hints.TokenId = 1,
        activation: hints.Activation = "gelu",
        layer_norm_epsilon: hints.Positive = 1e-5,
        attention_dropout: hints.Rate | None = None,
        initializer_range: hints.Deviation = 0.02,
        pooler: hints.Flag = False,
        **kwargs: Any,
    ) -> None:
        arguments = hints.checked(RobertaBackbone.__init__, locals())
        if hidden_dim % num_heads:
            raise ValueError(f"num_heads={num_heads!r}, expected a divisor of hidden_dim={hidden_dim}.")
        if pad_token_id >= vocabulary_size:
            raise ValueError(f"pad_token_id={pad_token_id!r}, expected an id below vocabulary_size={vocabulary_size}.")
        names = ("token_ids", "segment_ids", "padding_mask") if num_segments > 1 else ("token_ids", "padding_mask")
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
        network = _Layers(arguments, dtype)
        outputs = network.connect(**inputs)
        super().__init__(inputs=inputs, outputs=outputs, arguments=arguments, dtype=dtype, **kwargs)
        self.token_embedding, self.segment_embedding = network.token_embedding, network.segment_embedding
        self.position_embedding, self.embeddings_layer_norm = network.position_embedding, network.embeddings_layer_norm
        self.embeddings_add, self.embeddings_dropout = network.embeddings_add, network.embeddings_dropout
        self.transformer_layers, self.pooled_dense = network.transformer_layers, network.pooled_dense
        self.start_token_index = 0


@keras.saving.register_keras_serializable("vertebra_roberta")
class XLMRobertaBackbone(RobertaBackbone):
    """An XLM-RoBERTa encoder: `RobertaBackbone`, with the names of XLM-RoBERTa in other formats."""


@keras.saving.register_keras_serializable("vertebra_roberta")
class CamembertBackbone(RobertaBackbone):
    """A CamemBERT encoder: `RobertaBackbone`, with the names of CamemBERT in the transformers format."""


class _Layers:
    """The layers of a backbone, and how they are connected."""

    def __init__(self, arguments: Mapping[str, Any], dtype: Any) -> None:
        self.arguments, self.dtype = arguments, dtype
        self.token_embedding = self._embedding(
            keras.layers.ReversibleEmbedding, "vocabulary_size", name="token_embedding"
        )
        self.position_embedding = self._embedding(
            layers.TokenPositionEmbedding,
            "max_sequence_length",
            name="position_embedding",
            pad_token_id=arguments["pad_token_id"],
        )
        self.segment_embedding = self._embedding(keras.layers.Embedding, "num_segments", name="segment_embedding")
        self.embeddings_add = keras.layers.Add(dtype=dtype, name="embeddings_add")
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            epsilon=arguments["layer_norm_epsilon"], dtype=dtype, name="embeddings_layer_norm"
        )
        self.embeddings_dropout = layers.Dropout(arguments["dropout"], dtype=dtype, name="embeddings_dropout")
        names = [f"transformer_layer_{i}" for i in range(arguments["num_layers"])]
        self.transformer_layers = [layers.EncoderLayer(arguments, dtype=dtype, name=name) for name in names]
        self.first_token = layers.FirstToken(dtype=dtype, name="first_token")
        self.unpad, self.pad = layers.Unpad(dtype=dtype, name="unpad"), layers.Pad(dtype=dtype, name="pad")
        self.pooled_dense = self._pooled_dense() if arguments["pooler"] else None

    def _embedding(self, kind: Any, rows: str, **kwargs: Any) -> Any:
        width, initializer = self.arguments["hidden_dim"], _initializer(self.arguments)
        return kind(self.arguments[rows], width, embeddings_initializer=initializer, dtype=self.dtype, **kwargs)

    def _pooled_dense(self) -> Any:
        width, initializer = self.arguments["hidden_dim"], _initializer(self.arguments)
        return keras.layers.Dense(width, "tanh", kernel_initializer=initializer, dtype=self.dtype, name="pooled_dense")

    def connect(self, token_ids: Any, padding_mask: Any, segment_ids: Any = None) -> dict[str, Any]:
        segments = ops.zeros_like(token_ids) if segment_ids is None else segment_ids
        embeddings = [
            self.token_embedding(token_ids),
            self.position_embedding(token_ids),
            self.segment_embedding(segments),
        ]
        x = self.embeddings_dropout(self.embeddings_layer_norm(self.embeddings_add(embeddings)))
        x = self.unpad(x)
        for layer in self.transformer_layers:
            x = layer(x, padding_mask=padding_mask)
        x = self.pad(x, padding_mask)
        if self.pooled_dense is None:
            return {"sequence_output": x}
        return {"sequence_output": x, "pooled_output": self.pooled_dense(self.first_token(x))}


def _initializer(arguments: Mapping[str, Any]) -> Any:
    """Returns a new initialiser; weights that share an initialiser would get the same numbers."""
    return keras.initializers.TruncatedNormal(stddev=arguments["initializer_range"])
