"""`History`: the tokens of one row, with the counts and n-grams that processors need, kept up to date."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from vertebra_generation.sampling.selection import Array


class Counts:
    """How often each token occurred, for tokens that occurred."""

    def __init__(self, tokens: Sequence[int] = ()) -> None:
        self._tokens: Array
        self._counts: Array
        self._tokens, self._counts = np.unique(np.asarray(tokens, "int64"), return_counts=True)
        self._index = {token: index for index, token in enumerate(self._tokens.tolist())}

    @property
    def tokens(self) -> Array:
        """The tokens, each once: int64, shape (count,)."""
        return self._tokens[: len(self._index)]

    @property
    def counts(self) -> Array:
        """How often each of `tokens` occurred: int64, shape (count,)."""
        return self._counts[: len(self._index)]

    def add(self, token: int) -> None:
        index = self._index.setdefault(token, len(self._index))
        if index == len(self._tokens):
            self._tokens, self._counts = (
                np.concatenate([array, np.zeros(max(64, len(array)), "int64")])
                for array in (self._tokens, self._counts)
            )
        self._tokens[index] = token
        self._counts[index] += 1

    def copy(self) -> Counts:
        other = Counts()
        other._tokens, other._counts = self._tokens.copy(), self._counts.copy()
        other._index = self._index.copy()
        return other


class History:
    """The tokens of one row.

    Args:
        prompt: The token ids of the prompt.
        ngram_size: The length of the n-grams that must not occur twice, 0 for none.
    """

    def __init__(self, prompt: Sequence[int], ngram_size: int) -> None:
        ids = np.asarray(prompt, "int64").tolist() if len(prompt) else []
        self.length = 0
        """The number of generated tokens."""
        self.seen, self.generated = Counts(ids), Counts()
        """The counts of prompt and answer, and those of the answer alone."""
        self._tokens: list[int] = ids
        self._size = ngram_size
        self._followers: dict[tuple[int, ...], set[int]] = {}
        """The tokens that have followed each sequence of one token less than an n-gram."""
        if ngram_size > 1:
            for end in range(ngram_size, len(ids) + 1):
                self._add_ngram(end)

    def append(self, token: int) -> None:
        """Adds a generated token."""
        self.length += 1
        self._tokens.append(token)
        self.seen.add(token)
        self.generated.add(token)
        if self._size > 1 and len(self._tokens) >= self._size:
            self._add_ngram(len(self._tokens))

    def last(self, count: int) -> tuple[int, ...]:
        """Returns the last tokens, or fewer if there are fewer."""
        return tuple(self._tokens[-count:])

    def repeating(self) -> Collection[int]:
        """Returns the tokens that would repeat an n-gram."""
        if self._size == 1:
            found: list[int] = self.seen.tokens.tolist()
            return found
        return self._followers.get(self.last(self._size - 1), ()) if self._size else ()

    def copy(self) -> History:
        other = History((), self._size)
        other.length, other._tokens = self.length, self._tokens.copy()
        other.seen, other.generated = self.seen.copy(), self.generated.copy()
        other._followers = {prefix: set(tokens) for prefix, tokens in self._followers.items()}
        return other

    def _add_ngram(self, end: int) -> None:
        *prefix, token = self._tokens[end - self._size : end]
        self._followers.setdefault(tuple(prefix), set()).add(token)
