"""`Processors`: changes logits by the tokens that prompt and answer have so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from vertebra.errors import ArgumentError
from vertebra_generation.sampling.history import History
from vertebra_generation.sampling.options import FUNCTION, GenerationOptions
from vertebra_generation.sampling.selection import Array


class Processors:
    """Penalties and forbidden tokens, in the order of transformers, so that the results are those of its `generate`.

    First the penalties: repetition, frequency, presence. Then the forbidden tokens: those that would repeat an n-gram,
    bad words, and stop tokens before `min_new_tokens`. Padding must not be part of the prompts.

    Args:
        options: The options.
        prompts: The token ids of the prompt of each row; rows of answers to one prompt repeat it.
    """

    def __init__(self, options: GenerationOptions, prompts: Sequence[Sequence[int]]) -> None:
        self._options = options
        ends = {(token,) for token in options.stop_tokens}
        words = [word for word in options.bad_words if word not in ends]
        self._single = np.array(sorted(word[0] for word in words if len(word) == 1), "int64")
        self._longer: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for word in words:
            if len(word) > 1:
                self._longer[word[:-1]].append(word[-1])
        self._prefix_lengths = sorted({len(prefix) for prefix in self._longer})
        self._ends = np.array(options.stop_tokens, "int64")
        self._largest = max((token for word in words for token in word), default=-1)
        self.is_active = bool(
            options.repetition_penalty != 1
            or options.frequency_penalty
            or options.presence_penalty
            or options.no_repeat_ngram_size
            or words
            or (options.min_new_tokens and options.stop_tokens)
        )
        """Whether `apply` may change logits."""
        self._rows = [History(prompt, options.no_repeat_ngram_size) for prompt in prompts] if self.is_active else []

    def apply(self, logits: Array, row_ids: Sequence[int] | Array) -> Array:
        """Returns the changed logits; the argument itself if nothing is to be changed, and a copy otherwise.

        Args:
            logits: Logits, or log-probabilities, of the next token: float32, shape (rows, vocabulary).
            row_ids: The index of each row in `prompts`.

        Raises:
            ArgumentError: a token of `bad_words` is not in the vocabulary.
        """
        if not self.is_active:
            return logits
        size = logits.shape[1]
        if self._largest >= size:
            expected = f"token ids below {size}, the size of the vocabulary"
            raise ArgumentError(FUNCTION, "bad_words", self._largest, expected)
        changed = np.array(logits, "float32")
        for values, index in zip(changed, np.asarray(row_ids).tolist(), strict=True):
            self._penalise(values, self._rows[index])
            self._forbid(values, self._rows[index])
        return changed

    def append(self, row_ids: Sequence[int] | Array, tokens: Sequence[int] | Array) -> None:
        """Adds the token that was chosen for each row."""
        if self.is_active:
            for index, token in zip(np.asarray(row_ids).tolist(), np.asarray(tokens).tolist(), strict=True):
                self._rows[index].append(token)

    def reorder(self, row_ids: Sequence[int] | Array, parents: Sequence[int] | Array) -> None:
        """Lets each row continue the tokens of another one, as beams do.

        Args:
            row_ids: The rows that change.
            parents: The row whose tokens each of them continues.
        """
        if self.is_active:
            pairs = list(zip(np.asarray(row_ids).tolist(), np.asarray(parents).tolist(), strict=True))
            copies = {row: self._rows[parent].copy() for row, parent in pairs if row != parent}
            for row, history in copies.items():
                self._rows[row] = history

    def _penalise(self, logits: Array, history: History) -> None:
        options = self._options
        if options.repetition_penalty != 1:
            seen = history.seen.tokens
            seen = seen[seen < len(logits)]
            found, penalty = logits[seen], np.float32(options.repetition_penalty)
            logits[seen] = np.where(found < 0, found * penalty, found / penalty)
        if options.frequency_penalty or options.presence_penalty:
            tokens, counts = history.generated.tokens, history.generated.counts
            inside = tokens < len(logits)
            penalties = options.frequency_penalty * counts[inside] + options.presence_penalty
            logits[tokens[inside]] -= penalties.astype("float32")

    def _forbid(self, logits: Array, history: History) -> None:
        forbidden = list(history.repeating())
        for length in self._prefix_lengths:
            forbidden += self._longer.get(history.last(length), ())
        inside = np.array(forbidden, "int64")
        logits[inside[inside < len(logits)]] = -np.inf
        logits[self._single] = -np.inf
        if history.length < self._options.min_new_tokens:
            logits[self._ends[self._ends < len(logits)]] = -np.inf
