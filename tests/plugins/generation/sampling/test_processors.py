"""Processors: penalties and forbidden tokens, by the tokens of a row so far."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra.errors import ArgumentError
from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.processors import Processors

SIZE = 12


def logits(rows=1):
    return np.random.default_rng(2).normal(0, 2, (rows, SIZE)).astype("float32")


def forbidden(options, prompt, answer=()):
    """Returns the tokens that are forbidden after a prompt and a part of an answer."""
    processors = Processors(GenerationOptions(**options), [prompt])
    for token in answer:
        processors.append([0], [token])
    return np.flatnonzero(np.isneginf(processors.apply(logits(), [0])[0])).tolist()


def test_without_rules_the_same_array_is_returned():
    processors = Processors(GenerationOptions(min_new_tokens=3), [[1]])
    array = logits()
    assert not processors.is_active
    processors.append([0], [1])
    assert processors.apply(array, [0]) is array


def test_repetition_counts_prompt_and_answer_and_the_other_penalties_the_answer_alone():
    options = GenerationOptions(repetition_penalty=2.0, frequency_penalty=0.5, presence_penalty=0.25)
    processors = Processors(options, [[0, 1, 1, SIZE + 5]])
    for token in (2, 3, 2):
        processors.append([0], [token])
    before = logits()
    after = processors.apply(before, [0])[0]
    expected = before[0].copy()
    for token in (0, 1, 2, 3):
        expected[token] *= 2 if expected[token] < 0 else 0.5
    expected[2] -= 0.5 * 2 + 0.25
    expected[3] -= 0.5 + 0.25
    assert np.allclose(after, expected, atol=1e-6)
    assert (before == logits()).all()


def test_bad_words_are_forbidden_where_they_would_be_complete():
    words = {"bad_words": [[7], [1, 2], [1, 3], [4, 5, 6], [9]], "stop_tokens": [9]}
    assert forbidden(words, []) == [7]
    assert forbidden(words, [1]) == [2, 3, 7]
    assert forbidden(words, [4], [5]) == [6, 7]
    assert forbidden(words, [4, 5], [0]) == [7]


def test_a_bad_word_outside_the_vocabulary_is_refused():
    with pytest.raises(ArgumentError, match="bad_words=12, expected token ids below 12"):
        forbidden({"bad_words": [[1, SIZE]]}, [])


def test_stop_tokens_come_after_the_least_number_of_tokens():
    options = {"min_new_tokens": 2, "stop_tokens": [3, 5, SIZE]}
    assert forbidden(options, [1, 2, 3]) == [3, 5]
    assert forbidden(options, [1], [2]) == [3, 5]
    assert forbidden(options, [1], [2, 4]) == []


def test_rows_end_and_change_parents():
    processors = Processors(GenerationOptions(no_repeat_ngram_size=2), [[1], [2], [3]])
    processors.append([0, 2], [4, 5])
    processors.reorder([0, 1, 2], [2, 2, 0])
    processors.append([0], [3])
    found = [np.flatnonzero(np.isneginf(row)).tolist() for row in processors.apply(logits(3), [2, 1, 0])]
    assert found == [[], [], [5]]
    processors.append([1, 2], [3, 1])
    found = [np.flatnonzero(np.isneginf(row)).tolist() for row in processors.apply(logits(2), [1, 2])]
    assert found == [[5], [4]]


@given(st.lists(st.integers(0, 3), max_size=30), st.lists(st.integers(0, 3), max_size=30), st.integers(1, 4))
def test_no_n_gram_occurs_twice(prompt, answer, size):
    tokens = prompt + answer
    seen = {tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1)}
    last = tokens[len(tokens) - size + 1 :] if len(tokens) >= size - 1 else None
    expected = [] if last is None else [token for token in range(SIZE) if (*last, token) in seen]
    assert forbidden({"no_repeat_ngram_size": size}, prompt, answer) == expected


@given(st.lists(st.integers(0, 300), max_size=300))
def test_counts_are_those_of_all_tokens(tokens):
    options = GenerationOptions(frequency_penalty=1.0)
    processors = Processors(options, [[5]])
    for token in tokens:
        processors.append([0], [token])
    found = processors.apply(np.zeros((1, 301), "float32"), [0])[0]
    assert (-found == np.bincount(np.array(tokens, "int64"), minlength=301)).all()
