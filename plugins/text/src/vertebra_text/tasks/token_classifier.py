"""`TokenClassifier`: a class for each token, and the entities of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from vertebra.errors import ArgumentError
from vertebra_text.errors import require_single_texts
from vertebra_text.labels import IGNORED, checked_classes, checked_names, checked_rate, class_numbers
from vertebra_text.layers.head import Head
from vertebra_text.tasks.classifier import softmax
from vertebra_text.tasks.entities import AGGREGATIONS, entities_of
from vertebra_text.tasks.head_task import HeadTask
from vertebra_text.tasks.inference import listed


@keras.saving.register_keras_serializable("vertebra_text")
class TokenClassifier(HeadTask):
    """Classifies each token of a text, such as for names of people and places.

    The output has shape (batch, length, classes), in logits.

    Args:
        backbone: The backbone.
        num_classes: The number of classes; None means the number of `labels`.
        preprocessor: As in `Task`.
        dropout: Rate of the head's dropout in [0, 1), or None for the rate that the architecture's checkpoints have.
        labels: Names of the classes in order, such as `O`, `B-PER` and `I-PER`; None means `LABEL_0`, `LABEL_1`, ….
        head: As in `TextClassifier`.
        **kwargs: `compile` and `name`, as in `Task`.

    Raises:
        ArgumentError: an argument is out of range.
    """

    needs_labels = True
    has_output_for_each_token = True
    head_task: ClassVar[str] = "TokenClassifier"

    def __init__(
        self,
        backbone: Any,
        num_classes: int | None = None,
        preprocessor: Any = None,
        dropout: float | None = None,
        *,
        labels: Sequence[str] | None = None,
        head: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        classes = checked_classes(type(self).__name__, num_classes, labels)
        built = Head(self.declared(backbone, head), backbone, classes, None, checked_rate(type(self).__name__, dropout))
        arguments = {"num_classes": classes, "dropout": dropout, "labels": checked_names(classes, labels)}
        super().__init__(backbone, built, preprocessor, arguments, **kwargs)

    # === Training ===

    def default_loss(self) -> Any:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORED)

    def check_labels(self, y: Any) -> Any:
        """Returns the classes of the words of each text as lists of numbers.

        Raises:
            ArgumentError: a class is unknown; `y[2][5]` is that of the word 5 of the text 2.
        """
        return [
            class_numbers("TokenClassifier", list(row), self.labels, f"y[{number}]", "word")
            for number, row in enumerate(y)
        ]

    def prepare(self, texts: Any, labels: Any = None, sample_weight: Any = None) -> Any:
        """Returns one batch, with the class of each word at its first token; other tokens do not count.

        Args:
            texts: Lists of words.
            labels: For each text, the classes of its words.
            sample_weight: A weight for each text.

        Raises:
            ArgumentError: a text has another number of words than of classes.
        """
        if labels is None:
            return super().prepare(texts, None, sample_weight)
        words = [list(text) for text in texts]
        for text, classes in zip(words, labels, strict=True):
            if len(text) != len(classes):
                problem = f"{len(classes)} classes for {len(text)} words, as {' '.join(text[:5])!r}"
                raise ArgumentError(
                    "TokenClassifier", "y", problem, "texts as lists of words, and a class for each word"
                )
        arrays = self.encode(words, is_split_into_words=True, return_word_ids=True)
        y = _aligned(arrays.pop("word_ids"), labels)
        weights = None if sample_weight is None else np.asarray(sample_weight)
        return keras.utils.pack_x_y_sample_weight(arrays, y, weights)

    # === Answers ===

    def tag(
        self,
        texts: Any,
        *,
        aggregation: str = "simple",
        ignore_labels: Sequence[str] = ("O",),
        adapters: Any = None,
        batch_size: int = 32,
    ) -> Any:
        """Returns the entities of each text, each as a dict with `label`, `score`, `text`, `start` and `end`.

        Args:
            texts: A text or a list of texts.
            aggregation: How tokens become entities, as in transformers: `none` for each token; `simple` joins
                neighbours of one class; `first`, `average` and `max` choose one class for all tokens of a word first.
            ignore_labels: Classes that are left out.
            adapters: As in `predict`.
            batch_size: The number of texts in a batch.

        Returns:
            For each text a list; `start` and `end` are positions in the text, in characters.

        Raises:
            ArgumentError: `aggregation` is unknown.
            TextError: an item is a pair of texts.
        """
        if aggregation not in AGGREGATIONS:
            raise ArgumentError("TokenClassifier", "aggregation", aggregation, f"one of {', '.join(AGGREGATIONS)}")
        items = listed(texts)
        require_single_texts("TokenClassifier", items)
        options = {"return_offsets_mapping": True, "return_word_ids": True, "return_special_tokens_mask": True}
        answers: list[Any] = [None] * len(items)
        for batch in self.inference.batches(items, batch_size, adapters, **options):
            for index, row in enumerate(batch.rows):
                arrays = {name: array[index] for name, array in batch.arrays.items()}
                length = len(arrays["token_ids"])
                scores = softmax(np.asarray(batch.outputs[index][:length], "float32"))
                answers[row] = entities_of(items[row], scores, arrays, self.labels, aggregation, ignore_labels)
        return answers[0] if isinstance(texts, str) else answers

    def answers(self, texts: Any, **options: Any) -> Any:
        """Returns what `tag` returns for a list of texts; for `stream`."""
        return self.tag(texts, **options)


def _aligned(word_ids: Any, labels: Sequence[Any]) -> Any:
    """Returns the class of each token, int32, shape (batch, length): `IGNORED` but for the first token of a word."""
    before = np.concatenate([np.full((len(word_ids), 1), -1), word_ids[:, :-1]], axis=1)
    y = np.full(word_ids.shape, IGNORED, "int32")
    for row, column in zip(*np.nonzero((word_ids >= 0) & (word_ids != before)), strict=True):
        y[row, column] = labels[row][word_ids[row, column]]
    return y
