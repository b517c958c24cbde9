"""What an option of a call of a tokenizer must do, unless it is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from vertebra.errors import ArgumentError
from vertebra_text.tokenizers.interface import Tokenizer

Check = Callable[[Tokenizer, Sequence[str]], None]
"""Calls a tokenizer with an option, and fails if it has no effect; the first text is the longest."""


def _pads_at_the_left(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    mask = tokenizer(list(texts), padding_side="left")["padding_mask"]
    assert (mask[-1][0], mask[-1][-1]) == (0, 1)


def _cuts_at_the_left(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    limit = len(tokenizer(texts[0])["token_ids"]) - 1
    cut = {side: tokenizer(texts[0], max_length=limit, truncation_side=side)["token_ids"] for side in ("left", "right")}
    ids = tokenizer.tokenize(texts[0])
    assert ids[1:] == ids[:-1] or not np.array_equal(cut["left"], cut["right"])


def _adds_no_special_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    found = tokenizer(list(texts), add_special_tokens=False)
    rows = zip(found["token_ids"], found["padding_mask"], strict=True)
    assert [ids[mask == 1].tolist() for ids, mask in rows] == tokenizer.tokenize(list(texts))


def _returns_offsets(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Every character but spaces is in a token, and tokens are in order."""
    found = tokenizer(list(texts), return_offsets_mapping=True)
    assert found["offset_mapping"].shape == (*found["token_ids"].shape, 2)
    for text, offsets in zip(texts, found["offset_mapping"].tolist(), strict=True):
        spans = [(begin, end) for begin, end in offsets if end > begin]
        assert spans == sorted(spans)
        covered = {index for begin, end in spans for index in range(begin, end)}
        assert covered >= {index for index, letter in enumerate(text) if not letter.isspace()}, text
        assert max(covered) < len(text)


def _returns_words(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    found = tokenizer(list(texts), return_word_ids=True)
    assert found["word_ids"].shape == found["token_ids"].shape
    for words, mask in zip(found["word_ids"], found["padding_mask"], strict=True):
        assert set(words[mask == 0]) <= {-1}
        assert words.max() >= 0


def _marks_special_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    found = tokenizer(list(texts), return_special_tokens_mask=True)
    rows = zip(found["token_ids"], found["special_tokens_mask"], strict=True)
    assert [ids[special == 0].tolist() for ids, special in rows] == tokenizer.tokenize(list(texts))


def _takes_words(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    words = [text.split() for text in texts]
    found = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    rows = zip(found["token_ids"], found["padding_mask"], strict=True)
    alone = [[tokenizer.tokenize(word) for word in row] for row in words]
    assert [int(mask.sum()) for _, mask in rows] == [sum(map(len, row)) for row in alone]


def _takes_pairs(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    pair, first = (tokenizer(texts[0], *second)["token_ids"] for second in ((texts[1],), ()))
    assert len(pair) >= len(first) + len(tokenizer.tokenize(texts[1]))


def _cuts_nothing(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    whole = tokenizer(texts[0])["token_ids"]
    assert np.array_equal(tokenizer(texts[0], truncation=False, max_length=len(whole) - 1)["token_ids"], whole)


def _refuses_long_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    limit = len(tokenizer(texts[0])["token_ids"]) - 1
    with pytest.raises(ArgumentError):
        tokenizer(texts[0], truncation="error", max_length=limit)


OPTIONS: Mapping[str, Check] = {
    "padding_side": _pads_at_the_left,
    "truncation_side": _cuts_at_the_left,
    "add_special_tokens": _adds_no_special_tokens,
    "return_offsets_mapping": _returns_offsets,
    "return_word_ids": _returns_words,
    "return_special_tokens_mask": _marks_special_tokens,
    "is_split_into_words": _takes_words,
    "text_pair": _takes_pairs,
    "truncation=False": _cuts_nothing,
    "truncation='error'": _refuses_long_texts,
}
"""The options of a call that a tokenizer may refuse."""
