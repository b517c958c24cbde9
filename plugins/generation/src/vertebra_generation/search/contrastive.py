"""Contrastive search: probable tokens whose states are unlike those of the tokens before (arXiv:2202.06417)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.probabilities import probabilities
from vertebra_generation.sampling.selection import Array, largest


@dataclass(frozen=True, slots=True)
class ContrastiveStep:
    """The tokens that were chosen."""

    tokens: Array
    """The token of each row: int32, shape (rows,)."""
    indices: Array
    """Which of the row's candidates it is, by which caches and states are selected: shape (rows,)."""


class ContrastiveSearch:
    """Contrastive search for a batch of prompts.

    A step is: `candidates` names the most probable tokens; the model computes the last hidden state of each of them, as
    if it continued the answer; `choose` takes the one with the best sum of probability, weighted by `1 - alpha`, and
    unlikeness, weighted by `alpha`: minus the largest cosine similarity to the state of a token before.

    Args:
        options: `penalty_alpha` and `top_k`.
        prompt_states: The last hidden states of each prompt, without padding: shape (length, width).
    """

    def __init__(self, options: GenerationOptions, prompt_states: Sequence[Array]) -> None:
        self._alpha, self._count = np.float32(options.penalty_alpha or 0), options.top_k
        self._contexts = [_Context(states) for states in prompt_states]

    def candidates(self, logits: Array) -> tuple[Array, Array]:
        """Returns the candidates of each row, most probable first, and their probabilities.

        Args:
            logits: Logits of the next token, after `Processors.apply`: float32, shape (rows, vocabulary).

        Returns:
            Token ids, int32, and probabilities, float32: shape (rows, candidates), `top_k` of them or the vocabulary.
        """
        tokens = np.stack([largest(row, self._count) for row in logits])
        return tokens.astype("int32"), np.take_along_axis(probabilities(logits), tokens, axis=1)

    def choose(
        self, rows: Sequence[int] | Array, candidates: Array, candidate_probabilities: Array, states: Array
    ) -> ContrastiveStep:
        """Chooses the token of each row, and remembers its state.

        Args:
            rows: The index of each row in `prompt_states`.
            candidates: The token ids that `candidates` returned, shape (rows, candidates).
            candidate_probabilities: Their probabilities.
            states: Their last hidden states, shape (rows, candidates, width).
        """
        indices = []
        for row, chances, found in zip(np.asarray(rows).tolist(), candidate_probabilities, states, strict=True):
            context, units = self._contexts[row], _units(found)
            scores = (1 - self._alpha) * chances - self._alpha * context.similarities(units)
            index = int(scores.argmax())
            context.append(units[index])
            indices.append(index)
        chosen = np.array(indices, "int64")
        return ContrastiveStep(candidates[np.arange(len(chosen)), chosen].astype("int32"), chosen)


class _Context:
    """The states of the tokens of one row so far, scaled to the length 1."""

    def __init__(self, states: Array) -> None:
        self._units, self._count = _units(states), len(states)

    def similarities(self, units: Array) -> Array:
        """Returns the largest cosine similarity of each state to one of the context; 0 if there is none."""
        if not self._count:
            return np.zeros(len(units), "float32")
        found: Array = (units @ self._units[: self._count].T).max(axis=1)
        return found

    def append(self, unit: Array) -> None:
        if self._count == len(self._units):
            grown = np.zeros((max(64, 2 * self._count), len(unit)), "float32")
            grown[: self._count] = self._units[: self._count]
            self._units = grown
        self._units[self._count] = unit
        self._count += 1


def _units(states: Array) -> Array:
    """Returns states scaled to the length 1; zero stays zero."""
    values = np.asarray(states, "float32")
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    units: Array = values / np.maximum(lengths, np.finfo("float32").tiny)
    return units
