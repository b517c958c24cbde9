"""Answers of a batch: each is what passes over all its tokens give, whatever else is in the batch."""

import numpy as np
import pytest

import vertebra
from vertebra_generation.decoding.session import Session

from .conftest import BACKBONES, PROMPTS, SAMPLING, VOCABULARY, answers, assert_greedy, passed, tokens

pytestmark = pytest.mark.keras


@pytest.mark.parametrize("name", BACKBONES)
def test_greedy_tokens_are_the_most_probable_ones(name, shared):
    """Of prompts of different lengths, past the windows of sliding layers."""
    found = tokens(shared(name), max_new_tokens=20)
    assert [len(answer) for answer in found] == [20] * len(PROMPTS)
    assert_greedy(shared(name), PROMPTS, found)
    assert len({token for answer in found for token in answer}) > 3


def test_a_prompt_has_the_answer_that_it_has_alone(shared):
    found = tokens(shared("mistral"))
    assert found == tokens(shared("mistral"), batch_size=1) == tokens(shared("mistral"), batch_size=2)


@pytest.mark.parametrize("window", [1, 8, 64])
def test_windows_of_any_length(window, decoder):
    """Of a prompt with much padding, and of one without."""
    model = decoder("mistral", sliding_window=window)
    for prompts in ([PROMPTS[2], PROMPTS[1]], [PROMPTS[1]]):
        assert_greedy(model, prompts, tokens(model, prompts, max_new_tokens=20))


@pytest.mark.parametrize("name", ["gpt2", "gemma3"])
def test_a_cache_grows_while_answers_do(name, decoder):
    """The first cache has slots for 256 new tokens."""
    model = decoder(name)
    found = tokens(model, PROMPTS[:2], max_new_tokens=300)
    assert [len(answer) for answer in found] == [300, 300]
    assert_greedy(model, PROMPTS[:2], found)


def test_rows_that_have_ended_are_dropped(shared, monkeypatch):
    """Nine answers end one after the other: the steps get smaller, and the other answers stay as they are."""
    model, prompts, computed = shared("mistral"), [[token] for token in range(1, 10)], []
    advance = Session.advance

    def counted(session, tokens):
        computed.append(session.rows)
        return advance(session, tokens)

    monkeypatch.setattr(Session, "advance", counted)
    whole = tokens(model, prompts, max_new_tokens=30)
    later = np.array(whole)[:, 4:]
    stops = sorted(set(later[:, ::3].flat) - set(np.array(whole)[:, :4].flat))[::2]
    stops = [int(token) for token in stops]
    computed.clear()
    found = tokens(model, prompts, max_new_tokens=30, stop_token_ids=stops)
    for answer, all_tokens in zip(found, whole, strict=True):
        ends = [index for index, token in enumerate(all_tokens) if token in stops]
        assert answer == all_tokens[: ends[0] + 1 if ends else None]
    assert len(set(map(len, found))) > 3
    assert computed[0] == 9
    assert computed[-1] == 4


def test_a_row_that_has_ended_may_run_out_of_positions(decoder):
    """Rows that end at the last position are computed with the others, as long as there are few."""
    model = decoder(max_sequence_length=16)
    prompts = [PROMPTS[2], PROMPTS[1]]
    found = answers(model, prompts, max_new_tokens=15)
    assert [len(answer.token_ids) for answer in found] == [5, 15]
    assert [answer.finish_reason for answer in found] == ["context", "length"]
    assert_greedy(model, prompts, [answer.token_ids for answer in found])


def test_log_probabilities_are_those_of_passes(shared):
    model = shared("gemma2")
    found = answers(model)
    rows = [prompt + answer.token_ids for prompt, answer in zip(PROMPTS, found, strict=True)]
    for prompt, answer, scores in zip(PROMPTS, found, passed(model, rows), strict=True):
        steps = scores[len(prompt) - 1 : -1]
        expected = [steps[step, token] for step, token in enumerate(answer.token_ids)]
        np.testing.assert_allclose(answer.log_probs, expected, atol=1e-4)
        assert abs(answer.score - sum(expected)) < 1e-3


# === Sampling ===

SAMPLED = """
import json, sys
import vertebra
sys.path.insert(0, sys.argv[1])
from conftest import BACKBONES, PROMPTS, tokens
import numpy as np
kind, arguments = BACKBONES["gemma3"]
model = vertebra.models.CausalLM(getattr(vertebra.models, kind)(**arguments))
for number, variable in enumerate(model.weights):
    variable.assign(np.random.default_rng(number).normal(size=variable.shape) * 0.3)
print(json.dumps([tokens(model, do_sample=True, top_p=0.9, seed=seed, max_new_tokens=30) for seed in range(3)]))
"""


def test_a_seed_draws_the_same_tokens_whatever_the_batch(shared):
    model = shared("gemma3")
    found = tokens(model, **SAMPLING)
    assert found == tokens(model, **SAMPLING)
    assert found == tokens(model, batch_size=2, **SAMPLING)
    assert found[:2] == tokens(model, PROMPTS[:2], **SAMPLING)
    assert found != tokens(model, **SAMPLING | {"seed": 6})
    assert tokens(model, **SAMPLING | {"seed": None}) != tokens(model, **SAMPLING | {"seed": None})


def test_several_answers_to_each_prompt(shared):
    model = shared("mistral")
    found = answers(model, n=3, **SAMPLING)
    assert [len(row) for row in found] == [3] * len(PROMPTS)
    ids = [[answer.token_ids for answer in row] for row in found]
    assert all(len({tuple(answer) for answer in row}) == 3 for row in ids)
    again = answers(model, n=3, batch_size=2, **SAMPLING)
    assert ids == [[answer.token_ids for answer in row] for row in again]
    best = answers(model, n=3, do_sample=True, top_k=1)
    assert [[answer.token_ids for answer in row] for row in best] == [[answer] * 3 for answer in tokens(model)]


@pytest.mark.keras(once=True)
def test_a_seed_draws_the_same_tokens_on_each_runtime(child):
    pytest.importorskip("jax")
    from pathlib import Path

    folder = Path(__file__).parent
    found = {runtime: child(SAMPLED, folder, on=runtime) for runtime in ("torch", "jax")}
    assert found["torch"] == found["jax"]
    assert len(found["torch"]) > 100


# === Beams ===


def test_beams_are_what_a_search_over_all_sequences_finds(decoder):
    """With as many beams as there are sequences, beam search finds the most probable ones."""
    model = decoder("gpt2", vocabulary_size=5)
    prompts = [[1, 4, 2], [3]]
    found = answers(model, prompts, num_beams=25, n=3, max_new_tokens=2, length_penalty=0.0)
    for prompt, row in zip(prompts, found, strict=True):
        every = [[one, other] for one in range(5) for other in range(5)]
        scores = passed(model, [prompt + answer for answer in every])
        sums = [
            each[len(prompt) - 1, answer[0]] + each[len(prompt), answer[1]]
            for each, answer in zip(scores, every, strict=True)
        ]
        best = np.argsort(sums)[::-1][:3]
        assert [answer.token_ids for answer in row] == [every[index] for index in best]
        np.testing.assert_allclose([answer.score for answer in row], np.array(sums)[best], atol=1e-4)


def test_beams_of_prompts_do_not_depend_on_each_other(shared):
    options = {"num_beams": 3, "n": 2, "stop_token_ids": list(range(1, 6)), "max_new_tokens": 12}
    model = shared("gemma3")
    found = answers(model, **options)
    alone = answers(model, batch_size=1, **options)
    for prompt, row, other in zip(PROMPTS, found, alone, strict=True):
        assert [answer.token_ids for answer in row] == [answer.token_ids for answer in other]
        rows = [prompt + answer.token_ids for answer in row]
        scores = passed(model, rows)
        for answer, steps, ids in zip(row, scores, rows, strict=True):
            start = len(ids) - len(answer.token_ids)
            total = sum(steps[index - 1, ids[index]] for index in range(start, len(ids)))
            assert abs(answer.score - total / len(answer.token_ids)) < 1e-4


def test_beams_end_with_the_context(decoder):
    model = decoder(max_sequence_length=16)
    found = answers(model, [PROMPTS[2], PROMPTS[1]], num_beams=2, max_new_tokens=9)
    assert [len(answer.token_ids) for answer in found] == [5, 9]
    assert [answer.finish_reason for answer in found] == ["context", "length"]


# === Contrastive search ===


def contrastive(model, prompt, count, alpha, most):
    """Contrastive search as its paper states it, with a pass over all tokens for each candidate."""
    ids = list(prompt)
    for _ in range(most):
        chances = np.exp(passed(model, [ids])[0, len(ids) - 1])
        candidates = np.argsort(-chances, kind="stable")[:count]
        scores = []
        for candidate in candidates:
            states = _states(model, [*ids, int(candidate)])
            states /= np.linalg.norm(states, axis=-1, keepdims=True)
            similarity = (states[:-1] @ states[-1]).max()
            scores.append((1 - alpha) * chances[candidate] - alpha * similarity)
        ids.append(int(candidates[int(np.argmax(scores))]))
    return ids[len(prompt) :]


def _states(model, ids):
    width = -(-len(ids) // 64) * 64
    row = np.array([ids + [0] * (width - len(ids))], "int32")
    mask = np.array([[1] * len(ids) + [0] * (width - len(ids))], "int32")
    states = model.backbone.predict({"token_ids": row, "padding_mask": mask}, verbose=0)
    return np.asarray(states, "float64")[0, : len(ids)]


def test_contrastive_search_is_that_of_its_paper(shared):
    model, prompts = shared("gemma3"), PROMPTS[:3]
    found = tokens(model, prompts, penalty_alpha=0.6, top_k=4, max_new_tokens=6)
    assert found == [contrastive(model, prompt, 4, 0.6, 6) for prompt in prompts]
    assert found != tokens(model, prompts, max_new_tokens=6)


# === Architectures without a cache ===


def test_an_architecture_without_a_cache_has_the_same_answers(decoder):
    class UncachedBackbone(vertebra.models.GPT2Backbone):
        pass

    cached, kind = decoder(), UncachedBackbone
    model = vertebra.models.CausalLM(kind(**cached.backbone.constructor_config()))
    model.set_weights(cached.get_weights())
    for options in (
        {"num_beams": 3},
        {"penalty_alpha": 0.6, "top_k": 4},
        SAMPLING | {"stop_token_ids": list(range(1, VOCABULARY, 5))},
    ):
        assert tokens(model, **options) == tokens(cached, **options), options
    prefix = model.cache_prompt(PROMPTS[0])
    assert prefix.prefix is None
    assert tokens(model, [PROMPTS[3]], cached_prompt=prefix) == tokens(cached, [PROMPTS[0] + PROMPTS[3]])
