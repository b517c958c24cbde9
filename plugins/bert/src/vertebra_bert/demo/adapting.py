"""Fine-tuning: a linear head on frozen vectors, then a classifier of texts together with a LoRA adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import vertebra
from vertebra_bert.demo.models import linear_head
from vertebra_bert.demo.sentences import HELD_OUT_PAIRS, TRAINING_PAIRS, labelled

LABELS = ("unhappy", "happy")
BATCH = 16
_HEAD_STEPS, _HEAD_RATE = 60, 0.02
_HEAD = vertebra.HeadSpec("mean", (vertebra.HeadSpec.Dense("classifier"),))
"""The classifier reads the mean of the hidden states, as the embedder does."""


@dataclass(frozen=True, slots=True)
class Score:
    """The predictions for the held-out remarks."""

    probabilities: np.ndarray[Any, Any]
    """The probability of each remark that the speaker is happy."""

    @property
    def labels(self) -> np.ndarray[Any, Any]:
        """The right answers: 1 for a happy speaker."""
        return np.array(labelled(HELD_OUT_PAIRS)[1])

    @property
    def right(self) -> np.ndarray[Any, Any]:
        """Whether each remark is classified correctly."""
        right: np.ndarray[Any, Any] = (self.probabilities > 0.5) == (self.labels == 1)
        return right

    @property
    def accuracy(self) -> float:
        """Share of correctly classified remarks."""
        return float(self.right.mean())

    @property
    def loss(self) -> float:
        """Mean cross-entropy."""
        of_label = np.where(self.labels == 1, self.probabilities, 1 - self.probabilities)
        return float(-np.log(np.clip(of_label, 1e-7, 1)).mean())


def fit_frozen(embedder: Any) -> Score:
    """Trains a linear head on the vectors of the unchanged embedder, and returns its score."""
    texts, labels = labelled(TRAINING_PAIRS)
    training, held_out = embedder.embed(texts), embedder.embed(labelled(HELD_OUT_PAIRS)[0])
    head = linear_head(training.shape[1])
    head.compile(keras.optimizers.Adam(_HEAD_RATE), "binary_crossentropy")
    for _ in range(_HEAD_STEPS):
        head.train_on_batch(training, np.array(labels))
    return Score(head.predict(held_out, verbose=0)[:, 0])


def make_classifier(embedder: Any) -> Any:
    """Returns a classifier with a new head on the backbone of an embedder."""
    options = {"labels": list(LABELS), "head": _HEAD.to_config()}
    return vertebra.models.TextClassifier(embedder.backbone, preprocessor=embedder.preprocessor, **options)


def fit_adapter(classifier: Any, epochs: int, learning_rate: float, progress: keras.callbacks.Callback) -> Score:
    """Trains the adapter of a classifier together with its head, and returns their score."""
    texts, labels = labelled(TRAINING_PAIRS)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * steps_per_epoch())
    classifier.compile(keras.optimizers.Adam(rate, clipnorm=1.0), metrics=None)
    names = [LABELS[label] for label in labels]
    classifier.fit(texts, names, batch_size=BATCH, epochs=epochs, callbacks=[progress], verbose=0)
    return Score(classifier.probabilities(labelled(HELD_OUT_PAIRS)[0])[:, 1])


def steps_per_epoch() -> int:
    """Returns the number of weight updates in an epoch."""
    return -(-2 * len(TRAINING_PAIRS) // BATCH)
