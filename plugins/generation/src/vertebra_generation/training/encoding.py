"""Token ids of examples, with the tokens that count, as arrays for training and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vertebra_generation.training.examples import Example
from vertebra_text import TextError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example as token ids."""

    ids: Array
    """The token ids, int32, shape (tokens,)."""
    weights: Array
    """How much each token counts, given its predecessors; 0 for the first: float32, shape (tokens,)."""


def encoded(tokenizer: Any, examples: Sequence[Example], *, ends: bool) -> list[Encoded]:
    """Returns the token ids of examples, of any length.

    A text is tokenized as a whole, as a prompt and its completion may share a token: that one counts.

    Args:
        tokenizer: The tokenizer.
        examples: The examples.
        ends: Whether the tokenizer's end token follows each text that has none, and counts as its last part does.

    Raises:
        TextError: a prompt is empty, and the tokenizer has no token to begin with.
    """
    if not examples:
        return []
    wholes = _tokenized(tokenizer, [(example.text, not example.is_rendered) for example in examples])
    cuts = [(number, cut) for number, example in enumerate(examples) for part in example.counted for cut in part]
    cuts = [(number, cut) for number, cut in cuts if 0 < cut < len(examples[number].text)]
    prefixes = _tokenized(tokenizer, [(examples[n].text[:cut], not examples[n].is_rendered) for n, cut in cuts])
    counts: list[dict[int, int]] = [{} for _ in examples]
    for (number, at), prefix in zip(cuts, prefixes, strict=True):
        counts[number][at] = _common(wholes[number].ids, prefix.ids)
    end = getattr(tokenizer, "end_token_id", None)
    end_ids = np.array([] if end is None else [end], "int32")
    found = []
    for number, (example, whole) in enumerate(zip(examples, wholes, strict=True)):
        ids, weights = whole.ids, _weights(example, len(whole.ids), counts[number])
        ids, weights = _with_start(tokenizer, example, ids, weights, number)
        if ends and not example.is_rendered and ids[-1:].tolist() != [end]:
            added = whole.end if len(whole.end) else end_ids
            last = bool(example.counted) and example.counted[-1][1] == len(example.text)
            ids, weights = np.append(ids, added), np.append(weights, np.full(len(added), last, "float32"))
        weights[:1] = 0
        found.append(Encoded(ids, weights))
    return found


def _weights(example: Example, length: int, counts: dict[int, int]) -> Array:
    """Returns 1 for the tokens of the parts that count; `counts` has the number of tokens before each cut."""
    weights = np.zeros(length, "float32")
    counts = {0: 0, **counts, len(example.text): length}
    for start, stop in example.counted:
        weights[0 if start == 0 else counts[start] : counts[stop]] = 1
    return weights


def _with_start(tokenizer: Any, example: Example, ids: Array, weights: Array, number: int) -> tuple[Array, Array]:
    """Returns the tokens with one before them, if the prompt is empty and the first token counts."""
    is_empty = example.has_prompt and example.counted[0][0] == 0
    start = getattr(tokenizer, "start_token_id", None)
    if not is_empty or (len(ids) and ids[0] == start):
        return ids, weights
    if start is None:
        expected = "a prompt that is not empty, as the tokenizer has no token to begin a text with"
        raise TextError("CausalLM", f"texts[{number}]", example.text, expected)
    return np.insert(ids, 0, start), np.insert(weights, 0, 0)


@dataclass(frozen=True, slots=True)
class _Tokenized:
    """The token ids of a text, and the special tokens that the tokenizer puts after it: int32."""

    ids: Array
    end: Array


def _tokenized(tokenizer: Any, texts: Sequence[tuple[str, bool]]) -> list[_Tokenized]:
    """Returns the token ids of texts, each with the tokenizer's special tokens or without."""
    rows: list[Any] = [None] * len(texts)
    for special in (True, False):
        chosen = [number for number, (_, adds) in enumerate(texts) if adds == special]
        if chosen:
            made = tokenizer(
                [texts[number][0] for number in chosen],
                truncation="do_not_truncate",
                padding_side="right",
                add_special_tokens=special,
                return_special_tokens_mask=True,
            )
            columns = (made[name] for name in ("token_ids", "special_tokens_mask", "padding_mask"))
            for number, ids, mask, padding in zip(chosen, *columns, strict=True):
                length = int(padding.sum())
                of_text = np.flatnonzero(mask[:length] == 0)
                stop = of_text[-1] + 1 if len(of_text) else _beginning(ids[:length], tokenizer)
                rows[number] = _Tokenized(ids[:stop].astype("int32"), ids[stop:length].astype("int32"))
    return rows


def _beginning(ids: Array, tokenizer: Any) -> int:
    """Returns the number of special tokens before an empty text."""
    return int(len(ids) > 0 and ids[0] == getattr(tokenizer, "start_token_id", None))


def _common(ids: Array, prefix: Array) -> int:
    """Returns the number of tokens at the beginning that two rows share."""
    most = min(len(ids), len(prefix))
    different = np.flatnonzero(ids[:most] != prefix[:most])
    return int(different[0]) if len(different) else most


def cut(rows: Sequence[Encoded], most: int | None, *, refuse: bool = False) -> tuple[list[Encoded], int]:
    """Returns rows of at most a number of tokens, cut at their ends, and how many were cut.

    Args:
        rows: The rows.
        most: The number of tokens, or None for no limit.
        refuse: Whether a row that is too long is an error.

    Raises:
        TextError: a row is too long, and `refuse` is set.
    """
    if most is None:
        return list(rows), 0
    long = [number for number, row in enumerate(rows) if len(row.ids) > most]
    if long and refuse:
        count = len(rows[long[0]].ids)
        raise TextError("CausalLM", f"texts[{long[0]}]", f"{count:,} tokens", f"at most {most:,} tokens")
    return [Encoded(row.ids[:most], row.weights[:most]) for row in rows], len(long)


def arrays(rows: Sequence[Sequence[Encoded]], *, pad_id: int, multiple: int, most: int | None) -> dict[str, Array]:
    """Returns rows of one text or several as arrays of shape (rows, length), padded at the end.

    Each token predicts the next one of its text: the last token of a text is no input.

    Args:
        rows: The texts of each row.
        pad_id: The id of padding.
        multiple: The length is rounded up to a multiple of it, but not above `most`.
        most: The largest length, or None.

    Returns:
        `token_ids`; `padding_mask`, the number of the text in its row from 1, or 0 for padding; `labels`, the next
        token; all int32; and `weights`, how much the label counts, float32.
    """
    lengths = [sum(max(len(text.ids) - 1, 0) for text in row) for row in rows]
    length = -(-max([1, *lengths]) // multiple) * multiple
    length = max([1, *lengths, length if most is None else min(length, most)])
    shape = (len(rows), length)
    found = {name: np.zeros(shape, "int32") for name in ("token_ids", "padding_mask", "labels")}
    found["token_ids"][:] = pad_id
    found["weights"] = np.zeros(shape, "float32")
    for row, texts in enumerate(rows):
        start = 0
        for number, text in enumerate(texts, 1):
            stop = start + max(len(text.ids) - 1, 0)
            values = {
                "token_ids": text.ids[:-1],
                "padding_mask": number,
                "labels": text.ids[1:],
                "weights": text.weights[1:],
            }
            for name, value in values.items():
                found[name][row, start:stop] = value
            start = stop
    return found
