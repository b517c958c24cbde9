"""Contrastive search: computes the states of the candidates of each token, and goes on with the best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vertebra_generation.decoding.loop import Step, kept_rows
from vertebra_generation.decoding.session import Array, Session
from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.processors import Processors
from vertebra_generation.search.contrastive import ContrastiveSearch


class ContrastiveLoop:
    """Continues answers, one for each prompt, until they end.

    Args:
        session: The prompts, before their start; it returns hidden states.
        options: The options.
        prompts: The token ids of each prompt.
    """

    def __init__(self, session: Session, options: GenerationOptions, prompts: Sequence[Sequence[int]]) -> None:
        self._session, self._options, self._prompts = session, options, prompts
        self._processors = Processors(options, prompts)
        self._ended = np.zeros(len(prompts), bool)

    def end(self, rows: Array) -> None:
        """Ends answers, by their numbers: they get no further tokens."""
        self._ended[rows] = True

    def steps(self) -> Iterator[Step]:
        """Yields a step after the other, until all answers have ended."""
        outputs = self._session.start()
        states = [row[-len(prompt) :] for row, prompt in zip(outputs["states"], self._prompts, strict=True)]
        search = ContrastiveSearch(self._options, states)
        present, logits = np.arange(len(states)), outputs["logits"]
        while True:
            candidates, chances = search.candidates(self._processors.apply(logits, present))
            rows, count = candidates.shape
            self._session.select(np.repeat(np.arange(rows), count))
            outputs = self._session.advance(candidates.reshape(-1))
            states = outputs["states"][:, -1].reshape(rows, count, -1)
            chosen = search.choose(present, candidates, chances, states)
            self._processors.append(present, chosen.tokens)
            live = ~self._ended[present]
            log_probs = np.log(chances[np.arange(rows), chosen.indices])
            yield Step(present[live], chosen.tokens[live], log_probs[live])
            if self._ended.all():
                return
            kept = kept_rows(~self._ended[present])
            selected = (np.arange(rows) * count + chosen.indices)[kept]
            self._session.select(selected)
            present, logits = present[kept], outputs["logits"][selected]
