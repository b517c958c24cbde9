"""`Tracker`: the tokens and texts of answers while they grow, and where each ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vertebra_generation.answers import Answer, Piece
from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.selection import Array
from vertebra_generation.stopping.stream import LENGTH, STOP_TOKEN, AnswerStreams

CONTEXT = "context"
"""The reason for which an answer ends that has as many tokens as the backbone has positions for."""


class Tracker:
    """The answers of one batch, `n` to each prompt.

    Args:
        tokenizer: The tokenizer, or None for answers without texts.
        options: The options.
        most_new: The most tokens of the answers to each prompt.
        n: The number of answers to each prompt.
        room: The number of positions for the answers to each prompt, or None if there are enough.
        prompts: The index of each prompt in the call.
    """

    def __init__(
        self,
        tokenizer: Any,
        options: GenerationOptions,
        most_new: Sequence[int],
        n: int,
        room: Sequence[int] | None = None,
        prompts: Sequence[int] | None = None,
    ) -> None:
        count = len(most_new) * n
        self._n, self._most = n, np.repeat(np.asarray(most_new), n)
        self._room = None if room is None else np.repeat(np.asarray(room), n)
        self._prompts = list(range(len(most_new))) if prompts is None else list(prompts)
        self._tokens: list[list[int]] = [[] for _ in range(count)]
        self._log_probs: list[list[float]] = [[] for _ in range(count)]
        self._reasons: list[str | None] = [None] * count
        self._ends = frozenset(options.stop_tokens)
        self._streams = None
        if tokenizer is not None:
            stops = {"stop_tokens": options.stop_tokens, "stop_strings": options.stop_strings}
            self._streams = AnswerStreams(tokenizer, count, **stops)

    def add(self, rows: Array, tokens: Array, log_probs: Array) -> tuple[list[Piece], Array]:
        """Adds a token to some answers; returns a piece of each, and the numbers of those that end."""
        texts = [""] * len(rows) if self._streams is None else self._streams.add(rows, tokens).pieces
        pieces, ended = [], []
        for row, token, log_prob, text in zip(rows.tolist(), tokens.tolist(), log_probs.tolist(), texts, strict=True):
            self._tokens[row].append(token)
            self._log_probs[row].append(log_prob)
            reason, rest = self._reason(row, token)
            if reason is not None:
                self._reasons[row] = reason
                ended.append(row)
            prompt, number = self._prompts[row // self._n], row % self._n
            pieces.append(Piece(text + rest, prompt, number, token, reason))
        return pieces, np.array(ended, "int64")

    def answers(self) -> list[list[Answer]]:
        """Returns the answers to each prompt; all have ended."""
        found = [self._answer(row) for row in range(len(self._tokens))]
        return [found[start : start + self._n] for start in range(0, len(found), self._n)]

    def _reason(self, row: int, token: int) -> tuple[str | None, str]:
        """Returns why an answer ends, or None if it goes on, and its last text."""
        reason = None if self._streams is None else self._streams.reason(row)
        if reason is None and token in self._ends:
            reason = STOP_TOKEN
        if reason is not None or len(self._tokens[row]) < self._most[row]:
            return reason, ""
        rest = "" if self._streams is None else self._streams.close([row])[0]
        reason = LENGTH if self._streams is None else self._streams.reason(row)
        is_full = self._room is not None and len(self._tokens[row]) >= self._room[row]
        return CONTEXT if reason == LENGTH and is_full else reason, rest

    def _answer(self, row: int) -> Answer:
        text = None if self._streams is None else self._streams.text(row)
        values = self._log_probs[row]
        return Answer(self._tokens[row], text, self._reasons[row] or LENGTH, float(np.sum(values)), values)
