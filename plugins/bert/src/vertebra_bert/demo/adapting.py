"""Fine-tuning: a linear head on frozen embeddings, then such a head together with a LoRA adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from vertebra_bert.demo.models import EMBEDDING, classifier, compiled, linear_head
from vertebra_bert.demo.sentences import HELD_OUT_PAIRS, TRAINING_PAIRS, labelled
from vertebra_bert.demo.tokens import Arrays, Tokenize

BATCH = 16
_HEAD_STEPS, _HEAD_RATE = 60, 0.02


@dataclass(frozen=True, slots=True)
class Task:
    """The tokenised remarks and their labels, for training and for testing."""

    training: Arrays
    training_labels: np.ndarray[Any, Any]
    held_out: Arrays
    held_out_labels: np.ndarray[Any, Any]

    @classmethod
    def tokenized(cls, tokenize: Tokenize) -> Task:
        """Returns the task with tokenised remarks."""
        training, training_labels = labelled(TRAINING_PAIRS)
        held_out, held_out_labels = labelled(HELD_OUT_PAIRS)
        return cls(tokenize(training), np.array(training_labels), tokenize(held_out), np.array(held_out_labels))


@dataclass(frozen=True, slots=True)
class Score:
    """The predictions for the held-out remarks, and their labels."""

    probabilities: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]

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


def fit_frozen(sentences: Any, task: Task) -> Score:
    """Trains a linear head on the embeddings of the unchanged model, and returns its score."""
    embed = compiled(sentences)
    training, held_out = embed(task.training)[EMBEDDING], embed(task.held_out)[EMBEDDING]
    head = linear_head(training.shape[1])
    head.compile(keras.optimizers.Adam(_HEAD_RATE), "binary_crossentropy")
    for _ in range(_HEAD_STEPS):
        head.train_on_batch(training, task.training_labels)
    return Score(head.predict(held_out, verbose=0)[:, 0], task.held_out_labels)


def fit_adapter(
    sentences: Any, task: Task, epochs: int, learning_rate: float, progress: keras.callbacks.Callback
) -> Score:
    """Trains the backbone's adapter together with a new linear head, and returns their score."""
    model = classifier(sentences)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * steps_per_epoch(task))
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "binary_crossentropy")
    model.fit(task.training, task.training_labels, batch_size=BATCH, epochs=epochs, callbacks=[progress], verbose=0)
    return Score(model.predict(task.held_out, batch_size=64, verbose=0)[:, 0], task.held_out_labels)


def steps_per_epoch(task: Task) -> int:
    """Returns the number of weight updates in an epoch."""
    return -(-len(task.training_labels) // BATCH)
