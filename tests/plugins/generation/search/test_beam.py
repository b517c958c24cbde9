"""Beam search: finds the best answers where they can be listed, ends prompts one after the other, orders parents."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.probabilities import log_probabilities
from vertebra_generation.search.beam import BeamSearch

SIZE, MOST, END = 4, 4, 3


def table(seed, states=31):
    return log_probabilities(np.random.default_rng(seed).normal(0, 1.5, (states, SIZE)).astype("float32"))


def scores_of(logs, sequence):
    """Returns the log-probabilities of the next token after a sequence."""
    return logs[sum(position * (token + 1) for position, token in enumerate(sequence, 2)) % len(logs)]


def search(logs, options, prompts=1, most=MOST, is_stopped=None):
    """Runs a search; the prompt's index is the first token of its sequences."""
    beams = BeamSearch(options, prompts, most)
    sequences = [[index] for index in range(prompts)]
    while len(beams.live):
        step = beams.step(np.stack([scores_of(logs, sequence) for sequence in sequences]), is_stopped)
        sequences = [[*sequences[parent], int(token)] for parent, token in zip(step.parents, step.tokens, strict=True)]
        assert [sequence[0] for sequence in sequences] == step.prompts.tolist()
        assert len(sequences) == options.num_beams * len(beams.live)
        assert len({tuple(sequence) for sequence in sequences}) == len(sequences) or options.num_beams > SIZE
    return beams.answers()


def every_answer(logs, prompt, power):
    """Returns all answers with their scores, best first."""
    found = []
    for length in range(1, MOST + 1):
        for tokens in itertools.product(range(SIZE), repeat=length):
            if END in tokens[:-1] or (length < MOST and tokens[-1] != END):
                continue
            total = sum(scores_of(logs, [prompt, *tokens[:index]])[token] for index, token in enumerate(tokens))
            found.append((float(total) / length**power, list(tokens)))
    return sorted(found, reverse=True)


@settings(max_examples=12)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 2.0, -0.5]))
def test_enough_beams_find_the_best_answers(seed, power):
    logs = table(seed)
    options = GenerationOptions(num_beams=27, n=3, stop_tokens=END, length_penalty=power, early_stopping="never")
    for prompt, answers in enumerate(search(logs, options, prompts=2)):
        expected = every_answer(logs, prompt, power)[:3]
        assert np.allclose([answer.score for answer in answers], [score for score, _ in expected], atol=1e-5)
        assert [answer.tokens.tolist() for answer in answers] == [tokens for _, tokens in expected]


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
def test_prompts_do_not_depend_on_each_other(early_stopping):
    options = GenerationOptions(num_beams=3, n=3, stop_tokens=END, early_stopping=early_stopping)
    ended = set()
    for seed in range(8):
        logs = table(seed)
        together = search(logs, options, prompts=5, most=9)
        for prompt in range(5):
            beams = BeamSearch(options, 1, 9)
            sequences, steps = [[prompt]], 0
            while len(beams.live):
                steps += 1
                step = beams.step(np.stack([scores_of(logs, sequence) for sequence in sequences]))
                sequences = [
                    [*sequences[parent], int(token)] for parent, token in zip(step.parents, step.tokens, strict=True)
                ]
            ended.add(steps)
            alone = [(answer.tokens.tolist(), answer.score) for answer in beams.answers()[0]]
            assert alone == [(answer.tokens.tolist(), answer.score) for answer in together[prompt]]
    assert len(ended) > 2


def test_the_first_step_takes_one_row_or_equal_ones():
    logs = table(3)
    first, second = (BeamSearch(GenerationOptions(num_beams=3, stop_tokens=END), 2, 5) for _ in range(2))
    rows = np.stack([scores_of(logs, [0]), scores_of(logs, [1])])
    one, other = first.step(rows), second.step(np.repeat(rows, 3, axis=0))
    assert one.tokens.tolist() == other.tokens.tolist()
    assert one.parents.tolist() == [0, 0, 0, 1, 1, 1]
    assert other.parents.tolist() == [0, 0, 0, 3, 3, 3]


def test_stop_strings_end_answers_and_each_prompt_has_its_own_length():
    logs = table(5)
    asked = []

    def is_stopped(prompt, tokens):
        asked.append((prompt, tokens.tolist()))
        return tokens[-1] == 2

    options = GenerationOptions(num_beams=2, n=2, stop_tokens=END, early_stopping=True)
    for answers in search(logs, options, prompts=2, is_stopped=is_stopped):
        assert all(answer.tokens[-1] in (2, END) or len(answer.tokens) == MOST for answer in answers)
        assert all(2 not in answer.tokens[:-1] for answer in answers)
    assert {prompt for prompt, _ in asked} == {0, 1}
    never = GenerationOptions(num_beams=2, n=2, early_stopping="never")
    lengths = [[len(answer.tokens) for answer in answers] for answers in search(logs, never, 3, [1, 3, 5])]
    assert lengths == [[1, 1], [3, 3], [5, 5]]


def test_forbidden_tokens_are_in_no_answer():
    logs = table(7).copy()
    logs[:, 1] = -np.inf
    answers = search(logs, GenerationOptions(num_beams=2, n=2, stop_tokens=END))[0]
    assert len(answers) == 2
    assert all(1 not in answer.tokens for answer in answers)
    assert all(np.isfinite(answer.score) for answer in answers)


def test_a_length_penalty_of_any_size_is_computed():
    for power in (-10, 10):
        answers = search(table(1), GenerationOptions(num_beams=2, stop_tokens=END, length_penalty=power), most=12_000)
        assert len(answers[0]) == 1
