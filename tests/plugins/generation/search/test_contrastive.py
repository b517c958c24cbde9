"""Contrastive search: the tokens that its formula chooses, step by step."""

import functools

import numpy as np
import pytest

from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.search.contrastive import ContrastiveSearch

SIZE, WIDTH = 50, 6


def state(sequence):
    """Returns the last hidden state of a sequence."""
    return state_of(tuple(sequence))


@functools.cache
def state_of(sequence):
    return np.random.default_rng([7, *sequence]).normal(0.5, 1, WIDTH).astype("float32")


def logits(sequence):
    return np.random.default_rng([9, *sequence]).normal(0, 1, SIZE).astype("float32")


def by_definition(prompt, alpha, count, steps):
    """Returns the answer: probabilities and cosine similarities in float64, all of them computed anew in each step."""
    sequence = list(prompt)
    for _ in range(steps):
        scores = np.exp(logits(sequence).astype("float64"))
        scores /= scores.sum()
        context = [state(sequence[: end + 1]).astype("float64") for end in range(len(sequence))]
        values = {}
        for token in np.argsort(-scores)[:count].tolist():
            found = state([*sequence, token]).astype("float64")
            cosines = [found @ other / np.linalg.norm(found) / np.linalg.norm(other) for other in context]
            values[token] = (1 - alpha) * scores[token] - alpha * max(cosines)
        sequence.append(max(values, key=values.get))
    return sequence[len(prompt) :]


@pytest.mark.parametrize(("alpha", "count"), [(0.6, 4), (0.1, 8), (1.0, 3)])
def test_answers_are_those_of_the_formula(alpha, count):
    prompts = [[3], [4, 8, 1], [1, 2]]
    options = GenerationOptions(penalty_alpha=alpha, top_k=count)
    search = ContrastiveSearch(options, [np.stack([state(p[: end + 1]) for end in range(len(p))]) for p in prompts])
    sequences, rows = [list(prompt) for prompt in prompts], [2, 0, 1]
    for _ in range(70):
        candidates, chances = search.candidates(np.stack([logits(sequences[row]) for row in rows]))
        states = np.array(
            [
                [state([*sequences[row], token]) for token in found]
                for row, found in zip(rows, candidates.tolist(), strict=True)
            ]
        )
        step = search.choose(rows, candidates, chances, states)
        assert (np.diff(chances, axis=1) <= 0).all()
        assert step.tokens.tolist() == candidates[np.arange(3), step.indices].tolist()
        for row, token in zip(rows, step.tokens.tolist(), strict=True):
            sequences[row].append(token)
    for prompt, sequence in zip(prompts, sequences, strict=True):
        assert sequence[len(prompt) :] == by_definition(prompt, alpha, count, 70)


def test_an_empty_context_and_states_of_zero_have_no_similarity():
    search = ContrastiveSearch(GenerationOptions(penalty_alpha=0.9, top_k=2), [np.zeros((0, WIDTH), "float32")])
    candidates, chances = search.candidates(np.array([[0.0, 3.0, 1.0]], "float32"))
    assert candidates.tolist() == [[1, 2]]
    step = search.choose([0], candidates, chances, np.zeros((1, 2, WIDTH), "float32"))
    assert (step.tokens.tolist(), step.indices.tolist()) == ([1], [0])
