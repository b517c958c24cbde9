"""`Perplexity`: how surprised a language model is by tokens."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("vertebra_generation")
class Perplexity(keras.metrics.Metric):
    """The exponential of the mean negative log-probability of the next tokens, weighted by the sample weights.

    Labels are token ids of shape (batch, length), predictions are logits of shape (batch, length, vocabulary).
    """

    def __init__(self, name: str = "perplexity", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.total = self.add_weight(shape=(), initializer="zeros", name="total")
        self.count = self.add_weight(shape=(), initializer="zeros", name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch."""
        labels, logits = ops.cast(y_true, "int32"), ops.cast(y_pred, "float32")
        losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        weights = ops.ones_like(losses) if sample_weight is None else ops.cast(sample_weight, "float32")
        self.total.assign_add(ops.sum(losses * weights))
        self.count.assign_add(ops.sum(weights))

    def result(self) -> Any:
        """Returns the perplexity; 1 before the first token."""
        return ops.exp(self.total / ops.maximum(self.count, 1e-9))
