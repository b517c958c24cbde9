"""Entities: neighbouring tokens of one class, as positions in the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

AGGREGATIONS = ("none", "simple", "first", "average", "max")
"""The strategies of transformers' pipeline for named entities."""


def entities_of(
    text: str,
    scores: Any,
    arrays: Mapping[str, Any],
    labels: Sequence[str],
    aggregation: str,
    ignore_labels: Sequence[str],
) -> list[dict[str, Any]]:
    """Returns the entities of one text.

    Args:
        text: The text.
        scores: The probability of each class for each token, shape (length, classes).
        arrays: The tokenized text: `offset_mapping`, `word_ids` and `special_tokens_mask`.
        labels: Names of the classes.
        aggregation: One of `AGGREGATIONS`.
        ignore_labels: Classes that are left out.
    """
    tokens = np.flatnonzero(arrays["special_tokens_mask"] == 0)
    offsets, words = arrays["offset_mapping"], arrays["word_ids"]
    spans = [(int(offsets[i][0]), int(offsets[i][1]), scores[i]) for i in tokens]
    if aggregation in ("first", "average", "max"):
        spans = _words(spans, [words[i] for i in tokens], aggregation)
    found = [
        {"label": labels[int(np.argmax(row))], "score": float(np.max(row)), "start": start, "end": end}
        for start, end, row in spans
    ]
    kept = found if aggregation == "none" else _joined(found)
    return [
        entry | {"text": text[entry["start"] : entry["end"]]} for entry in kept if entry["label"] not in ignore_labels
    ]


def _words(spans: Sequence[tuple[int, int, Any]], words: Sequence[int], how: str) -> list[tuple[int, int, Any]]:
    """Returns one span for each word, with the probabilities of its first token, their mean, or its surest token's."""
    groups: list[list[tuple[int, int, Any]]] = []
    for number, (span, word) in enumerate(zip(spans, words, strict=True)):
        if number and word == words[number - 1]:
            groups[-1].append(span)
        else:
            groups.append([span])
    return [(group[0][0], group[-1][1], _word_scores([row for _, _, row in group], how)) for group in groups]


def _word_scores(rows: Sequence[Any], how: str) -> Any:
    if how == "first":
        return rows[0]
    if how == "average":
        return np.mean(rows, axis=0)
    return max(rows, key=np.max)


def _joined(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Joins neighbours of one class: an entity begins with another class, or with `B-`."""
    groups: list[list[dict[str, Any]]] = []
    for entry in found:
        prefix, tag = _split(entry["label"])
        if groups and prefix != "B" and _split(groups[-1][-1]["label"])[1] == tag:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return [
        {
            "label": _split(group[0]["label"])[1],
            "score": float(np.mean([entry["score"] for entry in group])),
            "start": group[0]["start"],
            "end": group[-1]["end"],
        }
        for group in groups
    ]


def _split(label: str) -> tuple[str, str]:
    """Returns prefix and class of a label: `B-PER` is `B` and `PER`; labels without a prefix count as inside."""
    prefix, dash, tag = label.partition("-")
    return (prefix, tag) if dash and prefix in ("B", "I") else ("I", label)
