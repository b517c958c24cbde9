"""The log-probabilities of completions."""

import numpy as np
import pytest

from byte_tokenizer import TEXTS
from vertebra.errors import ArgumentError, LoraStateError
from vertebra_text import TextError

from .conftest import LONGEST

pytestmark = pytest.mark.keras

PROMPTS = ["the quick", "a", "the capital of France is", ""]
COMPLETIONS = [" brown fox", " bad dog, a good fox", " Paris", "the fox"]


def expected(lm, prompt, completion):
    """The log-probabilities of the tokens of a completion, by the logits of the whole text."""
    tokenizer = lm.tokenizer
    before = tokenizer.tokenize(prompt) or [tokenizer.start_token_id]
    ids = np.array([[*before, *tokenizer.tokenize(completion)]], "int32")
    logits = lm.predict({"token_ids": ids, "padding_mask": np.ones_like(ids)}, verbose=0)[0].astype("float64")
    logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return [logits[index - 1, ids[0, index]] for index in range(len(before), ids.shape[1])]


def test_scores_are_the_logarithms_of_probabilities(make):
    lm = make()
    scores = lm.score(PROMPTS, COMPLETIONS)
    assert (scores.dtype, scores.shape) == (np.float32, (4,))
    by_token = lm.score(PROMPTS, COMPLETIONS, per_token=True, batch_size=2)
    for row, pair in enumerate(zip(PROMPTS, COMPLETIONS, strict=True)):
        values = expected(lm, *pair)
        np.testing.assert_allclose(scores[row], sum(values), atol=1e-4)
        np.testing.assert_allclose(by_token[row]["log_probabilities"], values, atol=1e-5)
        assert by_token[row]["token_ids"] == lm.tokenizer.tokenize(pair[1])
        assert lm.tokenizer.detokenize(by_token[row]["token_ids"]) == pair[1]
        assert len(by_token[row]["tokens"]) == len(values)


@pytest.mark.keras(once=True)
def test_one_prompt_serves_several_completions(make):
    lm = make()
    pairs = lm.score([PROMPTS[0]] * 2, COMPLETIONS[:2])
    np.testing.assert_allclose(lm.score(PROMPTS[0], COMPLETIONS[:2]), pairs, atol=1e-5)
    np.testing.assert_allclose(lm.score(PROMPTS[0], COMPLETIONS[0]), pairs[0], atol=1e-5)
    assert isinstance(lm.score(PROMPTS[0], COMPLETIONS[0]), float)
    items = [{"prompt": PROMPTS[0], "completion": completion} for completion in COMPLETIONS[:2]]
    np.testing.assert_allclose(lm.score(items), pairs, atol=1e-5)


@pytest.mark.keras(once=True)
def test_a_text_is_scored_from_its_second_token_on(make):
    lm = make()
    first = lm.tokenizer.detokenize(lm.tokenizer.tokenize(TEXTS[0])[:1])
    rest = TEXTS[0].removeprefix(first)
    np.testing.assert_allclose(lm.score(TEXTS[0]), lm.score(first, rest), atol=1e-5)
    assert lm.score(TEXTS).shape == (3,)


@pytest.mark.keras(once=True)
def test_a_token_that_prompt_and_completion_share_counts(make):
    lm = make()
    tokens = [lm.tokenizer.detokenize([index]) for index in lm.tokenizer.tokenize(TEXTS[0])]
    number = next(number for number, token in enumerate(tokens) if number and len(token) > 1)
    prompt = "".join(tokens[:number]) + tokens[number][0]
    score = lm.score(prompt, TEXTS[0].removeprefix(prompt), per_token=True)
    assert lm.tokenizer.detokenize(score["token_ids"]) == "".join(tokens[number:])
    assert len(score["token_ids"]) == len(tokens) - number


@pytest.mark.keras(once=True)
def test_a_completion_without_tokens_is_certain(make):
    lm = make()
    assert lm.score(["the quick"], [""]).tolist() == [0.0]
    assert lm.score(["a", ""]).tolist() == [0.0, 0.0]  # texts of one token and of none
    assert lm.score([]).tolist() == []


@pytest.mark.keras(once=True)
def test_the_longest_text_has_a_token_more_than_there_are_positions(make):
    lm = make()
    ids = lm.tokenizer.tokenize("fox dog " * LONGEST)[: LONGEST + 1]
    (row,) = lm.score([lm.tokenizer.detokenize(ids)], per_token=True)
    assert len(row["token_ids"]) == LONGEST


def test_each_completion_may_have_an_adapter(make, perturbed):
    lm = make()
    base = lm.score(PROMPTS, COMPLETIONS)
    for name in ("one", "two"):
        lm.enable_lora(2, name=name)
        for number, variable in enumerate(lm.trainable_variables):
            draws = np.random.default_rng(number + len(name) * (name == "two"))
            variable.assign(draws.normal(size=variable.shape) * 0.3)
    by_name = {}
    for name in ("one", "two"):
        lm.activate_lora(name)
        by_name[name] = lm.score(PROMPTS, COMPLETIONS)
    names = ["one", "two", "two", "one"]
    mixed = lm.score(PROMPTS, COMPLETIONS, adapters=names)
    np.testing.assert_allclose(mixed, [by_name[name][row] for row, name in enumerate(names)], atol=1e-4)
    assert np.abs(by_name["one"] - by_name["two"]).min() > 1e-3
    lm.disable_lora()
    np.testing.assert_allclose(lm.score(PROMPTS, COMPLETIONS), base, atol=1e-5)


@pytest.mark.keras(once=True)
def test_inputs_that_cannot_be_scored_are_named(make):
    lm = make()
    with pytest.raises(ArgumentError, match="completions='1 texts', expected one for each of 2 prompts"):
        lm.score(["a", "b"], ["c"])
    with pytest.raises(TextError, match=r"completions\[1\]=None, expected a text"):
        lm.score(["a", "b"], ["c", None])
    with pytest.raises(TextError, match=r"prompts\[0\]=3, expected a text"):
        lm.score([3], ["c"])
    with pytest.raises(TextError, match=rf"texts\[1\]='\d+ tokens', expected at most {LONGEST + 1} tokens"):
        lm.score(["a", "fox " * LONGEST], [" b", " c"])
    with pytest.raises(ArgumentError, match="adapters='1 names', expected one for each of 2 texts"):
        lm.score(["a", "b"], ["c", "d"], adapters=["one"])
    with pytest.raises(LoraStateError):
        lm.score(["a"], ["c"], adapters="one")
