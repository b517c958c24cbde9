"""The steps of generating: the same processors, filters and beams as transformers', for random logits and tables."""

import numpy as np
import pytest

from vertebra_generation.sampling.filters import candidates
from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.probabilities import log_probabilities
from vertebra_generation.sampling.processors import Processors
from vertebra_generation.sampling.sampler import Sampler
from vertebra_generation.search.beam import BeamSearch

pytestmark = pytest.mark.keras(once=True)

SIZE = 300
NAMES = {"n": "num_return_sequences", "stop_tokens": "eos_token_id", "bad_words": "bad_words_ids"}
"""Names of options in transformers, where they differ."""


def theirs(options):
    return {NAMES.get(name, name): value for name, value in options.items()}


PROCESSORS = [
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.7},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3, "repetition_penalty": 2.0},
    {"bad_words": [[3], [1, 4], [2, 5], [5, 1, 2], [2]], "stop_tokens": [2]},
    {"min_new_tokens": 4, "stop_tokens": [1, 9]},
    {"min_new_tokens": 9, "stop_tokens": [1, 9]},
]
FILTERS = [
    {"temperature": 0.7, "top_k": 0},
    {"top_k": 5},
    {"top_k": 0, "top_p": 0.9},
    {"top_k": 0, "top_p": 0.3},
    {"top_k": 0, "min_p": 0.05},
    {"temperature": 1.4, "top_k": 40, "top_p": 0.8, "min_p": 0.1},
]


@pytest.mark.parametrize("options", PROCESSORS, ids=str)
def test_processors_change_logits_as_transformers_does(options, generation_peer):
    draws = np.random.default_rng(3)
    prompt, answer = draws.integers(0, 6, (2, 5)).tolist()
    logits = draws.normal(0, 3, SIZE).astype("float32")
    processors = Processors(GenerationOptions(**options), [prompt])
    for token in answer:
        processors.append([0], [token])
    ours = processors.apply(logits[None], [0])[0]
    expected = generation_peer(
        "processed", options=theirs(options), prompt=prompt, answer=answer, logits=logits.tolist()
    )
    assert np.array_equal(np.isneginf(ours), np.isneginf(np.array(expected)))
    assert np.allclose(ours, expected, rtol=1e-6)
    assert not np.array_equal(ours, logits) or options.get("min_new_tokens") == 4


@pytest.mark.parametrize("options", FILTERS, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_filters_keep_the_tokens_of_transformers(options, seed, generation_peer):
    logits = np.random.default_rng(seed).normal(0, 2, SIZE).astype("float32")
    given = GenerationOptions(do_sample=True, **options)
    found = candidates(logits, given)
    expected = np.array(
        generation_peer(
            "processed", options=theirs(options) | {"do_sample": True}, prompt=[1], answer=[], logits=logits.tolist()
        )
    )
    kept = np.flatnonzero(np.isfinite(expected))
    ids = np.arange(SIZE) if found.ids is None else found.ids
    assert ids.tolist() == kept.tolist()
    weights = np.exp(expected[kept] - expected.max())
    assert np.allclose(found.weights, weights, rtol=1e-5)


# === Whole answers, of a model that is a table ===

VOCABULARY = 24
PROMPTS = [[5, 3, 8], [7], [2, 2, 9, 4]]
BEAMS = [
    {"num_beams": 4},
    {"num_beams": 3, "n": 2, "early_stopping": True},
    {"num_beams": 4, "n": 4, "early_stopping": "never"},
    {"num_beams": 4, "n": 3, "length_penalty": 2.0, "early_stopping": "never"},
    {"num_beams": 3, "length_penalty": -1.0, "n": 3},
    {"num_beams": 5, "length_penalty": 0.0, "n": 5, "stop_tokens": [1, 6, 11]},
    {"num_beams": 3, "n": 3, "repetition_penalty": 1.2, "no_repeat_ngram_size": 2, "bad_words": [[4], [3, 5]]},
    {"num_beams": 3, "n": 2, "min_new_tokens": 5, "early_stopping": True},
    {"num_beams": 2, "n": 2, "stop_tokens": []},
]


def table(seed, spread=2.0):
    """Returns the logits of each state, float32: token 0 is padding and is never likely."""
    logits = np.random.default_rng(seed).normal(0, spread, (997, VOCABULARY)).astype("float32")
    logits[:, 0] = -30
    return logits


def rows_of(logits, sequences):
    sums = [sum(position * token for position, token in enumerate(sequence, 1)) for sequence in sequences]
    return logits[np.array(sums) % len(logits)]


def beam_search(logits, prompts, options, most):
    """Runs the search as a loop of a decoder does: rows are reordered by the parents of each step."""
    search = BeamSearch(options, len(prompts), most)
    beams = options.num_beams
    processors = Processors(options, [prompt for prompt in prompts for _ in range(beams)])
    sequences, rows = [list(prompt) for prompt in prompts], [beams * index for index in range(len(prompts))]
    while len(search.live):
        scores = processors.apply(log_probabilities(rows_of(logits, sequences)), rows)
        step = search.step(scores)
        sources = [rows[parent] for parent in step.parents]
        rows = [beams * prompt + index % beams for index, prompt in enumerate(step.prompts)]
        processors.reorder(rows, sources)
        processors.append(rows, step.tokens)
        sequences = [[*sequences[parent], int(token)] for parent, token in zip(step.parents, step.tokens, strict=True)]
    return search.answers()


@pytest.mark.parametrize("options", BEAMS, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_beam_search_finds_the_answers_of_transformers(options, seed, generation_peer):
    options = {"stop_tokens": [1]} | options
    logits, most = table(seed), 12
    expected = generation_peer(
        "generate",
        table=logits.tolist(),
        prompts=PROMPTS,
        max_new_tokens=most,
        **theirs(options | {"stop_tokens": options["stop_tokens"] or None}),
    )
    answers = [answer for found in beam_search(logits, PROMPTS, GenerationOptions(**options), most) for answer in found]
    assert len(answers) == len(expected["tokens"])
    for answer, tokens, score in zip(answers, expected["tokens"], expected["scores"], strict=True):
        length = len(answer.tokens)
        assert answer.tokens.tolist() == tokens[:length]
        assert set(tokens[length:]) <= {0, 1, -1}  # transformers fills with the stop token where padding is 0
        assert abs(answer.score - score) < 1e-4


@pytest.mark.parametrize("options", [{}, {"repetition_penalty": 1.5}, {"no_repeat_ngram_size": 2}], ids=str)
def test_greedy_answers_are_those_of_transformers(options, generation_peer):
    logits = table(1)
    expected = generation_peer(
        "generate", table=logits.tolist(), prompts=PROMPTS, max_new_tokens=10, do_sample=False, **theirs(options)
    )
    given = GenerationOptions(**options)
    sampler, processors = Sampler(given), Processors(given, PROMPTS)
    sequences, rows = [list(prompt) for prompt in PROMPTS], list(range(len(PROMPTS)))
    for step in range(10):
        tokens, _ = sampler.next_tokens(processors.apply(rows_of(logits, sequences), rows), rows, step)
        processors.append(rows, tokens)
        sequences = [[*sequence, int(token)] for sequence, token in zip(sequences, tokens, strict=True)]
    answers = [sequence[len(prompt) :] for sequence, prompt in zip(sequences, PROMPTS, strict=True)]
    assert answers == expected["tokens"]
