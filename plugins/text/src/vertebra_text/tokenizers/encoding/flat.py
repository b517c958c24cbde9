"""`FlatTokens`: the tokens of many texts in one array, without a Python object for each token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_CHUNK = 1024
"""Texts that are encoded at once: an encoding of the library takes about ten times the memory of its ids."""
_NO_WORD = -1


@dataclass(frozen=True, slots=True)
class FlatTokens:
    """The tokens of texts, one text after the other."""

    lengths: Array
    """Number of tokens of each text: int64, shape (batch,)."""
    ids: Array
    """int32, shape (tokens,)."""
    offsets: Array | None = None
    """Begin and end of each token in its text, in characters: int32, shape (tokens, 2)."""
    words: Array | None = None
    """Index of the word of each token, -1 for none: int32, shape (tokens,)."""

    def kept(self, lengths: Array, side: str) -> FlatTokens:
        """Returns the tokens without those that are truncated.

        Args:
            lengths: How many tokens of each text are kept.
            side: The side at which tokens are cut off, `right` or `left`.
        """
        if lengths is self.lengths or np.array_equal(lengths, self.lengths):
            return self
        starts = np.cumsum(self.lengths) - self.lengths
        position = np.arange(len(self.ids)) - np.repeat(starts, self.lengths)
        cut = np.repeat(self.lengths - lengths, self.lengths)
        chosen = position >= cut if side == "left" else position < np.repeat(lengths, self.lengths)
        picked = [None if values is None else values[chosen] for values in (self.ids, self.offsets, self.words)]
        return FlatTokens(lengths, *picked)  # type: ignore[arg-type]


def encoded(encode: Callable[[Sequence[Any]], list[Any]], texts: Sequence[Any], offsets: bool) -> FlatTokens:
    """Encodes texts with a function of the `tokenizers` library.

    Args:
        encode: Function from a list of texts to a list of encodings.
        texts: The texts.
        offsets: Whether offsets and words are needed.
    """
    parts = [_flat(encode(texts[start : start + _CHUNK]), offsets) for start in range(0, len(texts), _CHUNK)]
    if len(parts) == 1:
        return parts[0]
    columns = [[getattr(part, name) for part in parts] for name in ("lengths", "ids", "offsets", "words")]
    joined = [None if column[0] is None else np.concatenate(column) for column in columns]
    return FlatTokens(*joined)  # type: ignore[arg-type]


def _flat(encodings: list[Any], offsets: bool) -> FlatTokens:
    lengths = np.fromiter(map(len, encodings), "int64", len(encodings))
    count = int(lengths.sum())
    ids = np.fromiter(chain.from_iterable(map(attrgetter("ids"), encodings)), "int32", count)
    if not offsets:
        return FlatTokens(lengths, ids)
    spans = chain.from_iterable(map(attrgetter("offsets"), encodings))
    flat_spans = np.fromiter(chain.from_iterable(spans), "int32", 2 * count).reshape(count, 2)
    words = np.fromiter(_words(encodings), "int32", count)
    return FlatTokens(lengths, ids, flat_spans, words)


def _words(encodings: Iterable[Any]) -> Iterator[int]:
    for encoding in encodings:
        yield from (_NO_WORD if word is None else word for word in encoding.word_ids)
