"""What each task answers in batches: its options, and the fields of an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vertebra.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class TaskKind:
    """How a task is asked in batches."""

    fields: Callable[[Any], Mapping[str, Any]]
    """Returns the fields of the output for one answer."""
    of_task: tuple[str, ...] = ()
    """Options of `from_preset`."""
    of_answers: tuple[str, ...] = ()
    """Options of `stream`."""
    is_paired: bool = False
    """Whether an item is a pair of texts."""


def _of_embedder(vector: Any) -> dict[str, Any]:
    return {"embedding": vector.tolist()}


def _of_classifier(answer: Any) -> dict[str, Any]:
    return answer if isinstance(answer, dict) else {"labels": answer}


def _of_token_classifier(answer: Any) -> dict[str, Any]:
    return {"entities": answer}


def _of_reranker(score: Any) -> dict[str, Any]:
    return {"score": float(score)}


KINDS = {
    "TextEmbedder": TaskKind(_of_embedder, ("truncate_dim",), ("prompt_name",)),
    "TextClassifier": TaskKind(_of_classifier, (), ("top_k",)),
    "TokenClassifier": TaskKind(_of_token_classifier, (), ("aggregation",)),
    "Reranker": TaskKind(_of_reranker, is_paired=True),
}
"""The tasks by name."""


def kind_of(task: str, options: Mapping[str, Any]) -> TaskKind:
    """Returns the kind of a task.

    Raises:
        ArgumentError: there is no such task, or it has no such option.
    """
    if task not in KINDS:
        raise ArgumentError("BatchTask", "task", task, f"one of {', '.join(KINDS)}")
    kind = KINDS[task]
    known = (*kind.of_task, *kind.of_answers)
    for name, value in options.items():
        if name not in known:
            raise ArgumentError("BatchTask", name, value, f"an option of {task}: {', '.join(known) or 'it has none'}")
    return kind
