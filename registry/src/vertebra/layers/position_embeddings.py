"""Learned embeddings of positions, numbered from the start of a sequence or without its padding."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vertebra.layers.caches import is_decoding, positions
from vertebra.layers.packing import text_numbers


@keras.saving.register_keras_serializable("vertebra")
class PositionEmbedding(keras.layers.Layer):  # type: ignore[misc]
    """Learned embeddings of the positions 0, 1, … of a sequence.

    The input is any tensor of shape `(batch, length, width)`, the output has the same shape.

    Args:
        positions: Number of positions.
        width: Width of the embeddings.
        embeddings_initializer: An initialiser of Keras, or its name.
        **kwargs: The arguments of every Keras layer.

    Raises:
        ValueError: in a call, the sequence is longer than there are positions.
    """

    def __init__(self, positions: int, width: int, embeddings_initializer: Any = "uniform", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positions, self.width = positions, width
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

    def build(self, shape: Any) -> None:
        """Creates the weights, for inputs of a shape."""
        self.embeddings = self.add_weight(
            name="embeddings", shape=(self.positions, self.width), initializer=self.embeddings_initializer
        )

    def call(self, x: Any) -> Any:
        """Returns the embeddings of the positions."""
        _check_length(x.shape[1], self.positions)
        if is_decoding() or text_numbers() is not None:
            return ops.take(self.embeddings, positions(x), axis=0)
        # Repeated for each sequence of the batch: otherwise, Keras would infer a batch of one for the sum of
        # embeddings.
        return ops.broadcast_to(ops.convert_to_tensor(self.embeddings)[: x.shape[1]], ops.shape(x))

    def lookup_indices(self, x: Any) -> Any:
        """Returns the row of `embeddings` for each token, of shape `(batch, length)`; LoRA adapters use it."""
        return ops.broadcast_to(positions(x), ops.shape(x)[:2])

    def compute_output_spec(self, x: Any) -> Any:
        """Returns shape and dtype of the output."""
        return keras.KerasTensor((*x.shape[:2], self.width), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config: dict[str, Any] = super().get_config()
        return config | {
            "positions": self.positions,
            "width": self.width,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
        }


@keras.saving.register_keras_serializable("vertebra")
class TokenPositionEmbedding(PositionEmbedding):
    """Learned embeddings of the positions of tokens, without those of padding, as in RoBERTa and MPNet.

    The input is token ids of shape `(batch, length)`, the output has shape `(batch, length, width)`. As in fairseq
    (Ott et al. 2019, arXiv:1904.01038), row `pad_token_id` of the table is the position of every padding token, and
    the tokens that are none have the rows after it, in order. Rows before it are not used.

    Args:
        positions: Number of positions of tokens; the table has `pad_token_id + 1` rows more.
        width: Width of the embeddings.
        pad_token_id: The id of padding.
        embeddings_initializer: An initialiser of Keras, or its name.
        **kwargs: The arguments of every Keras layer.

    Raises:
        ValueError: in a call, the sequence is longer than there are positions.
    """

    def __init__(
        self, positions: int, width: int, pad_token_id: int, embeddings_initializer: Any = "uniform", **kwargs: Any
    ) -> None:
        super().__init__(positions, width, embeddings_initializer, **kwargs)
        self.pad_token_id = pad_token_id

    def build(self, shape: Any) -> None:
        """Creates the weights, for inputs of a shape."""
        rows = self.positions + self.pad_token_id + 1
        self.embeddings = self.add_weight(
            name="embeddings", shape=(rows, self.width), initializer=self.embeddings_initializer
        )

    def call(self, x: Any) -> Any:
        """Returns the embeddings of the tokens' positions."""
        _check_length(x.shape[1], self.positions)
        return ops.take(self.embeddings, self.lookup_indices(x), axis=0)

    def lookup_indices(self, x: Any) -> Any:
        """Returns the row of `embeddings` for each token, of shape `(batch, length)`; LoRA adapters use it."""
        tokens = ops.cast(ops.not_equal(x, self.pad_token_id), "int32")
        return ops.cast(ops.cumsum(tokens, axis=1), "int32") * tokens + self.pad_token_id

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config: dict[str, Any] = super().get_config()
        return config | {"pad_token_id": self.pad_token_id}


def _check_length(length: Any, positions: int) -> None:
    """Refuses a sequence that is longer than there are positions; its length may not be known yet."""
    if isinstance(length, int) and length > positions:
        raise ValueError(f"The sequence has {length} tokens; this backbone has {positions} positions.")
