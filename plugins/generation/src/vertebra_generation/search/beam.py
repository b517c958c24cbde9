"""Beam search: keeps the most probable unfinished answers of each prompt, and the best finished ones.

The rules are those of transformers' `generate(num_beams=…)`, in float32 as there, so that the answers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.selection import Array, largest

_NONE = np.float32(-1e9)
"""The score of a beam that does not exist."""
IsStopped = Callable[[int, Array], bool]
"""Takes the index of a prompt and the tokens of an answer: whether the last one ends it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer."""

    tokens: Array
    """Its token ids, with the stop token: int32, shape (length,)."""
    score: float
    """The sum of its log-probabilities, divided by its length to the power of `length_penalty`."""


@dataclass(frozen=True, slots=True)
class BeamStep:
    """The rows of the next step; shape (rows,), `num_beams` rows for each prompt that goes on."""

    prompts: Array
    """The index of each row's prompt, in ascending order."""
    tokens: Array
    """The token that each row adds: int32."""
    parents: Array
    """The row of the last step that each row continues, by which caches are reordered."""


class BeamSearch:
    """Beam search for a batch of prompts.

    The first step takes one row for each prompt, or `num_beams` equal ones; later steps take the rows that the last
    step returned. Prompts end one after the other, and need no more rows then.

    Args:
        options: `num_beams`, `n`, `length_penalty`, `early_stopping` and `stop_tokens`.
        prompts: The number of prompts.
        max_new_tokens: The most tokens of an answer, at least 1: one number, or one for each prompt.
    """

    def __init__(self, options: GenerationOptions, prompts: int, max_new_tokens: int | Sequence[int]) -> None:
        self._options = options
        most = np.broadcast_to(np.asarray(max_new_tokens), (prompts,)).tolist()
        self._beams = [_Beams(options, most[index], index) for index in range(prompts)]
        self._live = list(range(prompts))

    @property
    def live(self) -> Array:
        """The indices of the prompts that go on: shape (prompts,)."""
        return np.array(self._live, "int64")

    def step(self, log_probabilities: Array, is_stopped: IsStopped | None = None) -> BeamStep:
        """Takes one step, and returns the rows of the next one.

        Args:
            log_probabilities: Those of the next token of each row, after `Processors.apply`: float32, shape (rows,
                vocabulary), with the rows of each live prompt together.
            is_stopped: Says which answers end with a stop string; stop tokens are known.
        """
        width = len(log_probabilities) // max(len(self._live), 1)
        tokens, parents, prompts = [], [], []
        for position, index in enumerate(self._live):
            beams = self._beams[index]
            beams.advance(log_probabilities[width * position : width * (position + 1)], is_stopped)
            if not beams.is_done:
                prompts.append(index)
                tokens.append(beams.tokens[:, -1])
                parents.append(width * position + (beams.parents if width > 1 else 0 * beams.parents))
        self._live = prompts
        rows = np.repeat(np.array(prompts, "int64"), self._options.num_beams)
        return BeamStep(rows, _joined(tokens, "int32"), _joined(parents, "int64"))

    def answers(self) -> list[list[Answer]]:
        """Returns the `n` best answers of each prompt, best first."""
        return [beams.answers[: self._options.n] for beams in self._beams]


class _Beams:
    """The beams of one prompt."""

    def __init__(self, options: GenerationOptions, most: int, prompt: int) -> None:
        self.count, self._options, self._most, self._prompt = options.num_beams, options, most, prompt
        self.scores = np.full(self.count, _NONE, "float32")
        self.scores[0] = 0  # all beams are equal at the beginning: candidates come from the first
        self.tokens: Array = np.zeros((self.count, 0), "int32")
        self.parents: Array = np.zeros(self.count, "int64")
        self.answers: list[Answer] = []
        self.is_done = False
        self._ends = np.array(options.stop_tokens, "int64")
        self._kept = max(2, 1 + len(self._ends)) * self.count
        """Candidates of a step, so that `num_beams` remain if the best ones are finished."""

    def advance(self, log_probabilities: Array, is_stopped: IsStopped | None) -> None:
        scores, beams, tokens = self._candidates(log_probabilities)
        sequences = np.concatenate([self.tokens[beams], tokens[:, None]], axis=1)
        finished = np.isin(tokens, self._ends)
        if is_stopped is not None:
            finished |= np.array([is_stopped(self._prompt, sequence) for sequence in sequences])
        if sequences.shape[1] >= self._most:
            finished[:] = True
        self._finish(scores, sequences, finished)
        running = scores + np.where(finished, _NONE, np.float32(0))
        order = np.argsort(-running, kind="stable")[: self.count]
        self.scores, self.tokens, self.parents = running[order], sequences[order], beams[order]
        self.is_done = bool(finished.all()) or self._is_full_enough() or not self._may_improve()

    def _candidates(self, log_probabilities: Array) -> tuple[Array, Array, Array]:
        """Returns the scores, beams and tokens of the best continuations, best first."""
        size = log_probabilities.shape[1]
        found = []
        for beam in range(self.count):
            row = log_probabilities[beam if len(log_probabilities) > 1 else 0]
            ids = largest(row, self._kept)
            found.append((row[ids] + self.scores[beam], np.full(len(ids), beam), ids))
        scores, beams, tokens = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.lexsort((beams * size + tokens, -scores))[: self._kept]
        return scores[order], beams[order], tokens[order].astype("int32")

    def _finish(self, scores: Array, sequences: Array, finished: Array) -> None:
        """Adds the candidates that ended, if they are among the best, and no more are added if that is settled."""
        length = _divisor(sequences.shape[1], self._options.length_penalty)
        for index in np.flatnonzero(finished[: self.count]):
            score = scores[index] / length
            if score > _NONE:
                self.answers.append(Answer(sequences[index], float(score)))
        self.answers.sort(key=lambda answer: -answer.score)
        del self.answers[self.count :]

    def _is_full_enough(self) -> bool:
        return self._options.early_stopping is True and len(self.answers) == self.count

    def _may_improve(self) -> bool:
        """Returns whether a beam may still become better than the worst finished answer, as far as is foreseen."""
        power = self._options.length_penalty
        longest = self._options.early_stopping == "never" and power > 0
        length = self._most if longest else self.tokens.shape[1]
        worst = self.answers[-1].score if len(self.answers) == self.count else float(_NONE)
        return bool(self.scores[0] / _divisor(length, power) > worst)


def _divisor(length: int, power: float) -> np.float32:
    with np.errstate(over="ignore"):
        return np.float32(float(length) ** power)


def _joined(parts: list[Array], dtype: str) -> Array:
    return np.concatenate(parts).astype(dtype) if parts else np.empty(0, dtype)
