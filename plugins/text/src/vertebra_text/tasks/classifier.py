"""`TextClassifier`: classes, several labels, or a number for each text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from vertebra import activations
from vertebra.errors import ArgumentError
from vertebra_text.labels import checked_classes, checked_names, checked_rate, class_numbers, label_rows
from vertebra_text.layers.head import Head
from vertebra_text.tasks.head_task import HeadTask

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
PROBLEMS = (SINGLE, MULTI, REGRESSION)
"""What the outputs are, by transformers' names."""


@keras.saving.register_keras_serializable("vertebra_text")
class TextClassifier(HeadTask):
    """Classifies texts or pairs of texts.

    The output has shape (batch, classes): logits, unless `activation` says otherwise.

    Args:
        backbone: The backbone.
        num_classes: The number of classes, labels or numbers; None means the number of `labels`.
        preprocessor: As in `Task`.
        activation: Activation of the outputs: a name of Keras, such as `"softmax"`, or of
            `vertebra.activations.NAMES`, a function, a layer, or None for logits. A preset can hold a name.
        dropout: Rate of the head's dropout in [0, 1), or None for the rates that the architecture's checkpoints have.
        labels: Names of the classes in order; None means `LABEL_0`, `LABEL_1`, …, as in transformers.
        problem_type: `single_label_classification`; `multi_label_classification`, where each class is present or not;
            or `regression`. None means regression for one class, and else a single label, as in transformers.
        head: The layers, as the config of a `vertebra.HeadSpec`; None means those of the architecture.
        **kwargs: `compile` and `name`, as in `Task`.

    Raises:
        ArgumentError: an argument is out of range.
    """

    needs_labels = True
    head_task: ClassVar[str] = "TextClassifier"

    def __init__(
        self,
        backbone: Any,
        num_classes: int | None = None,
        preprocessor: Any = None,
        activation: Any = None,
        dropout: float | None = None,
        *,
        labels: Sequence[str] | None = None,
        problem_type: str | None = None,
        head: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        classes = checked_classes(type(self).__name__, num_classes, labels)
        problem = problem_type or (REGRESSION if classes == 1 else SINGLE)
        if problem not in PROBLEMS:
            raise ArgumentError(type(self).__name__, "problem_type", problem_type, f"one of {', '.join(PROBLEMS)}")
        function, rate = _function(activation), checked_rate(type(self).__name__, dropout)
        built = Head(self.declared(backbone, head), backbone, classes, function, rate)
        arguments = {
            "num_classes": classes,
            "activation": activation,
            "dropout": dropout,
            "labels": checked_names(classes, labels),
            "problem_type": problem,
        }
        super().__init__(backbone, built, preprocessor, arguments, **kwargs)

    def task_arguments(self) -> dict[str, Any]:
        activation = self._arguments["activation"]
        name = activation if isinstance(activation, str | None) else keras.activations.serialize(activation)
        return super().task_arguments() | {"activation": name}

    @classmethod
    def check_stored(cls, arguments: Mapping[str, Any]) -> None:
        activation = arguments.get("activation")
        if activation is not None and activation not in (*_of_keras(), *activations.NAMES):
            expected = f"None, the name of a function in keras.activations, or one of {', '.join(activations.NAMES)}"
            raise ArgumentError(cls.__name__, "activation", activation, expected)

    # === Training ===

    def default_loss(self) -> Any:
        logits = not self._has_activation()
        if self.problem_type == REGRESSION:
            return keras.losses.MeanSquaredError()
        if self.problem_type == MULTI:
            return keras.losses.BinaryCrossentropy(from_logits=logits)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=logits)

    def default_metrics(self) -> Any:
        if self.problem_type == REGRESSION:
            return [keras.metrics.MeanAbsoluteError()]
        if self.problem_type == MULTI:
            return [keras.metrics.BinaryAccuracy(threshold=0.5 if self._has_activation() else 0.0)]
        return [keras.metrics.SparseCategoricalAccuracy()]

    def _has_activation(self) -> bool:
        return self.activation not in (None, "linear")

    def check_labels(self, y: Any) -> Any:
        """Returns labels as numbers: a class by number or name, or rows of numbers.

        Raises:
            ArgumentError: a class is unknown, a row has another length, or a number is out of range.
        """
        if self.problem_type == SINGLE:
            return class_numbers(type(self).__name__, y, self.labels)
        return label_rows(type(self).__name__, y, self.num_classes, self.labels_are_shares)

    @property
    def labels_are_shares(self) -> bool:
        """Whether labels that are numbers are from 0 to 1, as the loss needs them."""
        return bool(self.problem_type == MULTI)

    # === Answers ===

    def classify(
        self,
        texts: Any,
        *,
        top_k: int | None = 1,
        threshold: float = 0.5,
        adapters: Any = None,
        batch_size: int = 32,
    ) -> Any:
        """Returns the classes of texts, each as a dict with `label` and `score`.

        Args:
            texts: A text, a list of texts, a list of pairs, or a tuple of two lists.
            top_k: The number of classes for each text, the likeliest first; None for all. 1 returns a dict for each
                text instead of a list. With several labels, all labels from the threshold on are returned instead.
            threshold: The lowest probability of a label that is returned, for several labels.
            adapters: As in `predict`.
            batch_size: The number of texts in a batch.
        """
        scores = self.probabilities(texts, adapters=adapters, batch_size=batch_size)
        if self.problem_type == REGRESSION:
            answers: list[Any] = [self._ranked(row, self.num_classes, top_k == 1) for row in scores]
        elif self.problem_type == MULTI:
            answers = [[entry for entry in self._ranked(row, None) if entry["score"] >= threshold] for row in scores]
        else:
            answers = [self._ranked(row, top_k, top_k == 1) for row in scores]
        return answers[0] if isinstance(texts, str) else answers

    def answers(self, texts: Any, **options: Any) -> Any:
        """Returns what `classify` returns for a list of texts; for `stream`."""
        return self.classify(texts, **options)

    def probabilities(self, texts: Any, *, adapters: Any = None, batch_size: int = 32) -> Any:
        """Returns the probability of each class, shape (texts, classes), float32; or the numbers, for regression."""
        outputs = np.asarray(self.predict(texts, adapters=adapters, batch_size=batch_size), "float32")
        if self.problem_type == REGRESSION or self._has_activation():
            return outputs
        return sigmoid(outputs) if self.problem_type == MULTI else softmax(outputs)

    def _ranked(self, row: Any, top_k: int | None, single: bool = False) -> Any:
        order = np.argsort(-row, kind="stable")[:top_k]
        entries = [{"label": self.labels[index], "score": float(row[index])} for index in order]
        return entries[0] if single and len(entries) == 1 else entries


def _of_keras() -> list[str]:
    """Returns the names of Keras's activations."""
    names = (name for name in dir(keras.activations) if not name.startswith("_"))
    return [name for name in names if name not in ("get", "serialize", "deserialize")]


def _function(activation: Any) -> Any:
    """Returns an activation as Keras's layers take it: names of Vertebra that Keras lacks become functions."""
    if isinstance(activation, str) and activation in activations.NAMES and activation not in _of_keras():
        return activations.activation(activation)
    return activation


def sigmoid(logits: Any) -> Any:
    """Returns the logistic function of logits, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def softmax(logits: Any) -> Any:
    """Returns the softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
