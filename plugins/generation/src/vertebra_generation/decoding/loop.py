"""Greedy decoding and sampling: one token for each answer in each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vertebra_generation.decoding.session import Array, Outputs, Session
from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.processors import Processors
from vertebra_generation.sampling.sampler import Sampler

_FEWEST_ROWS = 4
"""A batch of so few rows does not get smaller when some of them end: it takes about as long as one row."""


@dataclass(frozen=True, slots=True)
class Step:
    """One token for each answer that has not ended."""

    rows: Array
    """Numbers of the answers, int64, shape (answers,)."""
    tokens: Array
    """Their tokens, int32."""
    log_probs: Array
    """Their log-probabilities, float32."""


class Loop:
    """Continues answers until they end.

    Args:
        session: The prompts, before their start.
        options: The options; `n` answers are sampled for each prompt.
        prompts: The token ids of each prompt, for penalties.
        numbers: The number of the first answer of each prompt among all answers of a call, for the draws.
        sampler: Chooses the tokens.
    """

    def __init__(
        self,
        session: Session,
        options: GenerationOptions,
        prompts: Sequence[Sequence[int]],
        numbers: Sequence[int],
        sampler: Sampler,
    ) -> None:
        self._session, self._options, self._sampler = session, options, sampler
        repeated = np.repeat(np.arange(len(prompts)), options.n)
        self._processors = Processors(options, [prompts[number] for number in repeated])
        self._numbers = np.repeat(np.asarray(numbers, "int64"), options.n) + np.tile(np.arange(options.n), len(prompts))
        self._prompts = repeated
        self._ended = np.zeros(len(repeated), bool)

    def end(self, rows: Array) -> None:
        """Ends answers, by their numbers: they get no further tokens."""
        self._ended[rows] = True

    def steps(self) -> Iterator[Step]:
        """Yields a step after the other, until all answers have ended."""
        outputs = self._session.start()
        if self._options.n > 1:
            self._session.select(self._prompts)
            outputs = {name: value[self._prompts] for name, value in outputs.items()}
        present = np.arange(len(self._ended))  # the answer of each row of the session
        for step in range(2**62):
            live = ~self._ended[present]
            rows, tokens = present[live], np.zeros(len(present), "int32")
            logits = self._processors.apply(outputs["logits"][live], rows)
            tokens[live], log_probs = self._sampler.next_tokens(logits, self._numbers[rows], step)
            self._processors.append(rows, tokens[live])
            yield Step(rows, tokens[live], log_probs)
            if self._ended.all():
                return
            kept = kept_rows(~self._ended[present])
            if len(kept) < len(present):
                self._session.select(kept)
                present, tokens = present[kept], tokens[kept]
            outputs: Outputs = self._session.advance(tokens)


def kept_rows(live: Array) -> Array:
    """Returns the rows to go on with: half of them or fewer, if no more are live; so there are few numbers of rows."""
    count = max(int(live.sum()), _FEWEST_ROWS)
    size = 1 << (count - 1).bit_length()
    if size > len(live) // 2:
        return np.arange(len(live))
    return np.sort(np.argsort(~live, kind="stable")[:size])
