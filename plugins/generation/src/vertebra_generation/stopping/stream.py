"""`AnswerStreams`: the texts of several answers while they grow, and where they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vertebra.errors import ArgumentError
from vertebra_generation.sampling.selection import Array
from vertebra_generation.stopping.strings import StopStrings
from vertebra_generation.stopping.text import GrowingText, Tokenizer
from vertebra_generation.stopping.tokens import StopTokens

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
STOP_TOKEN, STOP_STRING, LENGTH = "stop_token", "stop_string", "length"
"""The reasons for which answers end."""


@dataclass(frozen=True, slots=True)
class StreamStep:
    """What one step added."""

    pieces: list[str]
    """The further text of each row, which may be empty; all pieces of a row together are its answer."""
    finished: Array
    """Which rows have ended: bool, shape (rows,)."""


class AnswerStreams:
    """The texts of answers, cut before the stop string that is complete first; a stop token has no text.

    A piece of text is returned once no later token can change it, and no stop string may begin with it. A stop string
    that is itself a special token of the tokenizer, which has no text, ends an answer as a stop token.

    Args:
        tokenizer: The tokenizer.
        rows: The number of answers.
        stop_tokens: Token ids that end an answer.
        stop_strings: Texts that end an answer, also in the middle of a token.
        skip_special_tokens: Whether special tokens have no text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        rows: int,
        *,
        stop_tokens: Sequence[int] = (),
        stop_strings: Sequence[str] = (),
        skip_special_tokens: bool = True,
    ) -> None:
        special = special_ids(tokenizer, stop_strings) if skip_special_tokens else []
        self._ends = StopTokens([*stop_tokens, *special])
        self._strings = StopStrings(stop_strings)
        self._tokenizer, self._skip = tokenizer, skip_special_tokens
        self._rows = [_Row(GrowingText(tokenizer, skip_special_tokens), self._strings) for _ in range(rows)]

    def add(self, rows: Sequence[int] | Array, tokens: Sequence[int] | Array) -> StreamStep:
        """Adds the next token of some rows, none of which has ended.

        Args:
            rows: The indices of the rows.
            tokens: The token of each.
        """
        chosen = [self._rows[index] for index in np.asarray(rows).tolist()]
        ends = self._ends.found(tokens).tolist()
        growing = [row for row, is_end in zip(chosen, ends, strict=True) if not is_end]
        for row, token, is_end in zip(chosen, np.asarray(tokens).tolist(), ends, strict=True):
            if not is_end:
                row.text.append(token)
        texts = dict(zip(map(id, growing), self._decoded(growing), strict=True))
        pieces = [
            row.end(STOP_TOKEN) if is_end else row.grow(texts[id(row)])
            for row, is_end in zip(chosen, ends, strict=True)
        ]
        return StreamStep(pieces, np.array([row.reason is not None for row in chosen], "bool"))

    def close(self, rows: Sequence[int] | Array) -> list[str]:
        """Ends rows that have as many tokens as they may have, and returns the last piece of each."""
        chosen = [self._rows[index] for index in np.asarray(rows).tolist()]
        return ["" if row.reason is not None else row.end(LENGTH) for row in chosen]

    def text(self, row: int) -> str:
        """Returns all pieces of a row so far."""
        return "".join(self._rows[row].pieces)

    def reason(self, row: int) -> str | None:
        """Returns why a row has ended: "stop_token", "stop_string" or "length"; None if it goes on."""
        return self._rows[row].reason

    def _decoded(self, rows: list[_Row]) -> list[str]:
        windows = [row.text.window for row in rows]
        found: list[str] = self._tokenizer.detokenize(windows, skip_special_tokens=self._skip) if windows else []
        return found


class _Row:
    """One answer."""

    def __init__(self, text: GrowingText, strings: StopStrings) -> None:
        self.text, self._strings = text, strings
        self.pieces: list[str] = []
        self.reason: str | None = None
        self._held = ""
        """Text that may be the beginning of a stop string."""

    def grow(self, window_text: str) -> str:
        """Takes the text of the window, and returns the next piece."""
        self._held += self.text.update(window_text)
        found = self._strings.find(self._held + self.text.pending.rstrip(_REPLACEMENT))
        if found is not None:
            return self._finish(STOP_STRING, (self._held + self.text.pending)[: found[0]])
        kept = self._strings.held(self._held)
        ready, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
        return self._returned(ready)

    def end(self, reason: str) -> str:
        """Ends the answer, and returns the last piece."""
        rest = self._held + self.text.pending
        found = self._strings.find(rest)
        return self._finish(reason, rest) if found is None else self._finish(STOP_STRING, rest[: found[0]])

    def _finish(self, reason: str, rest: str) -> str:
        self.reason, self._held = reason, ""
        return self._returned(rest)

    def _returned(self, piece: str) -> str:
        if piece:
            self.pieces.append(piece)
        return piece


class StopStringCheck:
    """Says whether the last token of an answer completes a stop string, for searches that compare many answers.

    Args:
        tokenizer: The tokenizer.
        stop_strings: Texts that end an answer.
    """

    def __init__(self, tokenizer: Tokenizer, stop_strings: Sequence[str]) -> None:
        self._tokenizer, self._strings = tokenizer, StopStrings(stop_strings)
        self._special = set(special_ids(tokenizer, stop_strings))
        self._tokens = 4 * max(map(len, stop_strings), default=0) + 8  # of at least a byte each, and some before them

    def __call__(self, prompt: int, tokens: Array) -> bool:
        """Returns whether an answer, whose former tokens completed no stop string, ends with its last token.

        Args:
            prompt: The index of its prompt, which makes no difference.
            tokens: The token ids of the answer, shape (length,).
        """
        if int(tokens[-1]) in self._special:
            return True
        text = self._decoded(tokens[-self._tokens :])
        if not text.strip():  # the first space of the window may be lost
            text = self._decoded(tokens)
        return self._strings.find(text.rstrip(_REPLACEMENT)) is not None

    def _decoded(self, tokens: Array) -> str:
        return str(self._tokenizer.detokenize(tokens.tolist(), skip_special_tokens=True))


def special_ids(tokenizer: Tokenizer, strings: Sequence[str]) -> list[int]:
    """Returns the ids of those strings that are special tokens, which have no text."""
    found = []
    for string in strings:
        try:
            token = tokenizer.token_to_id(string)
        except ArgumentError:
            continue
        if not tokenizer.detokenize([token], skip_special_tokens=True):
            found.append(token)
    return found
