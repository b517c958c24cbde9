"""The data of `fit`, `evaluate` and `score`: items as users give them, and rows of packed texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vertebra import tasks
from vertebra.errors import ArgumentError
from vertebra_generation.training.encoding import Encoded
from vertebra_generation.training.examples import completed, require_same_length, require_text
from vertebra_generation.training.packing import Row, pack, weighted

_TOKENS, _MASK = "token_ids", "padding_mask"


def with_next_tokens(x: Any, y: Any, options: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Returns arguments of `fit` or `evaluate` whose token ids have labels: the next tokens, where they are tokens.

    A list of items as `validation_data` becomes a pair, as Keras takes a list for inputs and labels.
    """
    validation = options.get("validation_data")
    if isinstance(validation, list):
        options = options | {"validation_data": (validation, None)}
    elif _are_ids(validation):
        options = options | {"validation_data": (validation, *_next_tokens(validation))}
    if not _are_ids(x) or y is not None:
        return x, y, options
    labels, weights = _next_tokens(x)
    given = options.get("sample_weight")
    weights = weights if given is None else weights * np.asarray(given, "float32").reshape(len(weights), -1)
    return x, labels, options | {"sample_weight": weights}


def _are_ids(x: Any) -> bool:
    return isinstance(x, Mapping) and _TOKENS in x


def _next_tokens(x: Mapping[str, Any]) -> tuple[Any, Any]:
    """Returns the next token of each, and 1 where both are tokens."""
    ids = np.asarray(x[_TOKENS])
    mask = np.asarray(x.get(_MASK, np.ones_like(ids))) > 0
    labels, weights = np.zeros_like(ids), np.zeros(ids.shape, "float32")
    labels[:, :-1], weights[:, :-1] = ids[:, 1:], mask[:, 1:] & mask[:, :-1]
    return labels, weights


def scored_items(prompts: Any, completions: Any) -> tuple[list[Any], bool]:
    """Returns the items of `score`, and whether there is one, which is in no list.

    Raises:
        ArgumentError: prompts and completions differ in number.
        TextError: one of them is no text.
    """
    if completions is None:
        is_single = isinstance(prompts, str | Mapping)
        return ([prompts] if is_single else list(prompts)), is_single
    is_single = isinstance(completions, str) and isinstance(prompts, str)
    endings = [completions] if isinstance(completions, str) else list(completions)
    beginnings = [prompts] * len(endings) if isinstance(prompts, str) else list(prompts)
    require_text(beginnings, "prompts")
    require_text(endings, "completions")
    require_same_length(beginnings, endings)
    return [completed(*pair) for pair in zip(beginnings, endings, strict=True)], is_single


# === Packing ===


def packed_rows(model: Any, x: Any, y: Any, options: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Returns arguments of `fit` whose items are rows of packed texts; those of `validation_split` are not packed.

    Args:
        model: The causal language model.
        x: Items.
        y: Completions, or None.
        options: Further arguments of `fit`.

    Raises:
        ArgumentError: the architecture cannot keep texts apart, the model has no longest row, or the data are batches.
    """
    _check(model)
    x, y = model.columns(x, y)
    if not isinstance(x, list | tuple | np.ndarray):
        raise ArgumentError("fit", "packing", True, f"False for {type(x).__name__}: a list of texts can be packed")
    if isinstance(x, tuple) and len(x) == 2 and y is None:
        require_same_length(*x)
        x = list(zip(*x, strict=True))
    items = list(x)
    completions = None if y is None else model.check_labels(y)
    if completions is not None:
        require_same_length(items, completions)
    options = dict(options)
    weights, split = options.pop("sample_weight", None), options.pop("validation_split", 0.0)
    if weights is not None and len(weights) != len(items):
        raise ArgumentError("fit", "sample_weight", f"{len(weights)} values", f"one for each of {len(items)} texts")
    count = len(items) - math.ceil(len(items) * split)
    if count < 1 or count > len(items):
        raise ArgumentError("fit", "validation_split", split, "a share that leaves texts to train on")
    if count < len(items):
        held = [None if column is None else column[count:] for column in (items, completions, weights)]
        options["validation_data"] = tuple(held)
    kept = [None if column is None else column[:count] for column in (items, completions, weights)]
    return pack([text for (text,) in packed_or_not(model, *kept)], model.longest), None, options


def _check(model: Any) -> None:
    model.require_tokenizer()
    backbone = model.backbone
    if not tasks.cache_of_architecture(type(backbone).__name__, backbone.constructor_config()):
        expected = f"False, as the layers of {type(backbone).__name__} do not keep the texts of a row apart"
        raise ArgumentError("fit", "packing", True, expected)
    if model.longest is None:
        expected = "False, or a preprocessor with the length of a row: TextPreprocessor(tokenizer, sequence_length=...)"
        raise ArgumentError("fit", "packing", True, expected)


def packed_or_not(model: Any, items: Sequence[Any], completions: Any, weights: Any) -> list[tuple[Encoded, ...]]:
    """Returns the texts of each row of a batch: those of rows that are packed, or one for each item.

    Args:
        model: The causal language model.
        items: Rows that `pack` returned, or items as in `fit`.
        completions: The completion of each, or None.
        weights: A weight for each item, or None.

    Raises:
        TextError: an item is no text, or the like.
    """
    if items and isinstance(items[0], Row):
        return [row.texts for row in items]
    if completions is not None:
        require_text(items, "texts")
        items = [completed(*pair) for pair in zip(items, completions, strict=True)]
    texts = model.encode_examples(items)
    if weights is not None:
        texts = [weighted(text, weight) for text, weight in zip(texts, np.asarray(weights, "float32"), strict=True)]
    return [(text,) for text in texts]
