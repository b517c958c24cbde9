"""`Reranker`: a score for each pair of a query and a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from vertebra.errors import ArgumentError
from vertebra_text.errors import TextError
from vertebra_text.tasks.classifier import REGRESSION, TextClassifier, sigmoid
from vertebra_text.tasks.inference import listed

_SCORES = ("identity", "sigmoid")


@keras.saving.register_keras_serializable("vertebra_text")
class Reranker(TextClassifier):
    """Scores pairs of a query and a document with both in one sequence (Nogueira & Cho 2019, arXiv:1901.04085).

    Args:
        backbone: The backbone.
        num_classes: The number of outputs, 1.
        preprocessor: As in `Task`.
        score: What a score is: `identity`, the output itself, or `sigmoid` of it.
        **kwargs: Further arguments of `TextClassifier`.
    """

    head_task: ClassVar[str] = "TextClassifier"
    reads_pairs = True

    def __init__(
        self,
        backbone: Any,
        num_classes: int | None = 1,
        preprocessor: Any = None,
        *,
        score: str = "sigmoid",
        **kwargs: Any,
    ) -> None:
        if num_classes != 1 or score not in _SCORES:
            name, value = ("num_classes", num_classes) if num_classes != 1 else ("score", score)
            raise ArgumentError("Reranker", name, value, "1" if num_classes != 1 else " or ".join(_SCORES))
        kwargs = {"problem_type": REGRESSION} | kwargs
        super().__init__(backbone, num_classes, preprocessor, **kwargs)
        self.__dict__["score"] = score
        self._arguments["score"] = score

    def default_loss(self) -> Any:
        return keras.losses.BinaryCrossentropy(from_logits=not self._has_activation())

    @property
    def labels_are_shares(self) -> bool:
        """Whether labels are from 0 to 1: they are, from irrelevant to relevant."""
        return True

    def default_metrics(self) -> Any:
        return None

    def scores(self, pairs: Any, *, adapters: Any = None, batch_size: int = 32) -> Any:
        """Returns the score of each pair, float32, shape (pairs,).

        Args:
            pairs: A list of pairs (query, document), or a tuple of two lists.
            adapters: As in `predict`.
            batch_size: The number of pairs in a batch.

        Raises:
            TextError: an item is no pair.
        """
        pairs = listed(pairs)
        for number, pair in enumerate(pairs):
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise TextError("Reranker", f"pairs[{number}]", pair, "a pair of a query and a document")
        outputs = np.asarray(self.predict(pairs, adapters=adapters, batch_size=batch_size), "float32")[:, 0]
        return sigmoid(outputs) if self.score == "sigmoid" else outputs

    def answers(self, texts: Any, **options: Any) -> Any:
        """Returns what `scores` returns for a list of texts; for `stream`."""
        return self.scores(texts, **options)

    def rank(
        self, query: str, documents: Sequence[str], *, top_k: int | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """Returns the documents for a query, the best first, each as a dict with `corpus_id`, `score` and `text`.

        Args:
            query: The query.
            documents: The documents.
            top_k: The number of documents that are returned, or None for all.
            **kwargs: Further arguments of `scores`.
        """
        scores = self.scores([(query, document) for document in documents], **kwargs)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [{"corpus_id": int(i), "score": float(scores[i]), "text": documents[i]} for i in order]
