"""Options: defaults, ranges, unknown names and contradictions."""

import numpy as np
import pytest

from vertebra.errors import ArgumentError
from vertebra_generation.sampling.options import GenerationOptions

WRONG = {
    "max_new_tokens": [0, -1, 1.5, True, "3"],
    "max_length": [0, "3"],
    "min_new_tokens": [-1, 0.5],
    "do_sample": [1, "yes"],
    "temperature": [0, -1, float("nan"), float("inf"), True, "1"],
    "top_k": [-1, 1.5],
    "top_p": [-0.1, 1.1, float("nan")],
    "min_p": [-0.1, 1.1],
    "repetition_penalty": [0, -1],
    "presence_penalty": [-3, 2.5],
    "frequency_penalty": [-3, 2.5],
    "no_repeat_ngram_size": [-1],
    "bad_words": [5, "word", [5], [[]], [[-1]], [["a"]], ["ab"], {5: 1}],
    "stop_tokens": [-1, "a", [[1]], [True]],
    "stop_strings": [5, [""], "", [5]],
    "num_beams": [0],
    "length_penalty": ["1", float("inf")],
    "early_stopping": ["always", 1],
    "penalty_alpha": [-0.1, 1.5],
    "n": [0],
    "seed": [-1, 2**64, 1.0],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_with_the_name_and_the_expected_value(name, value):
    with pytest.raises(ArgumentError) as caught:
        GenerationOptions(**{name: value})
    assert (caught.value.function, caught.value.argument, caught.value.value) == ("generate", name, value)
    assert "expected " in str(caught.value)


def test_every_option_has_a_wrong_value_in_this_module():
    assert set(WRONG) == set(GenerationOptions.__dataclass_fields__)


def test_values_get_one_type():
    options = GenerationOptions(
        top_k=np.int64(3),
        top_p=1,
        stop_tokens=np.array([4, 4, 2]),
        stop_strings="end",
        bad_words=[[1], (2, np.int32(3))],
    )
    assert (options.top_k, options.top_p, options.stop_tokens) == (3, 1.0, (4, 2))
    assert (options.stop_strings, options.bad_words) == (("end",), ((1,), (2, 3)))
    assert type(options.top_k) is int
    assert type(options.top_p) is float
    assert GenerationOptions(stop_tokens=7).stop_tokens == (7,)
    hash(options)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"temprature": 1.0}, "did you mean temperature?"),
        ({"num_return_sequences": 2}, "the name n,"),
        ({"eos_token_id": 2}, "the name stop_tokens,"),
        ({"zzz": 2}, "a known option: bad_words, "),
    ],
)
def test_an_unknown_option_is_refused_with_the_known_one(given, hint):
    with pytest.raises(ArgumentError, match=next(iter(given))) as caught:
        GenerationOptions.of(given)
    assert hint in str(caught.value)


def test_given_options_replace_defaults_and_none_means_not_given():
    defaults = GenerationOptions(temperature=0.5, top_k=7)
    options = GenerationOptions.of({"top_k": 3, "temperature": None}, defaults)
    assert options == GenerationOptions(temperature=0.5, top_k=3)
    assert GenerationOptions.of({}) == GenerationOptions()


@pytest.mark.parametrize(
    "given",
    [
        {"num_beams": 2, "do_sample": True},
        {"num_beams": 2, "penalty_alpha": 0.5},
        {"do_sample": True, "penalty_alpha": 0.5},
        {"penalty_alpha": 0.5, "top_k": 1},
        {"n": 2},
        {"n": 2, "penalty_alpha": 0.5},
        {"n": 3, "num_beams": 2},
        {"min_new_tokens": 3, "max_new_tokens": 2},
    ],
)
def test_contradictions_are_refused(given):
    with pytest.raises(ArgumentError) as caught:
        GenerationOptions(**given)
    assert caught.value.argument in given


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ({"temperature": 0.5, "top_p": 0.5, "length_penalty": 2.0, "early_stopping": True, "seed": 3}, "greedy"),
        ({"do_sample": True, "n": 3}, "sampling"),
        ({"num_beams": 2, "n": 2, "temperature": 0.5}, "beam search"),
        ({"penalty_alpha": 0.5, "top_k": 4}, "contrastive search"),
        ({"penalty_alpha": 0.0, "do_sample": True}, "sampling"),
    ],
)
def test_options_of_other_methods_have_no_effect_on_the_method(given, method):
    assert GenerationOptions(**given).method == method


def test_the_number_of_new_tokens_is_that_of_transformers():
    assert GenerationOptions().most_new_tokens(1000) == 20
    assert GenerationOptions(max_length=30).most_new_tokens(10) == 20
    assert GenerationOptions(max_length=30, max_new_tokens=50).most_new_tokens(10) == 50
    with pytest.raises(ArgumentError, match="more than the 30 tokens of the prompt"):
        GenerationOptions(max_length=30).most_new_tokens(30)
