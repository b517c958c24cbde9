"""The samplers of KerasHub: their methods and defaults."""

import pytest

from vertebra.errors import ArgumentError
from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.samplers import options_of

PRESENT = GenerationOptions(max_new_tokens=9, stop_tokens=(3,), seed=1, do_sample=True, temperature=0.5, n=4, top_p=0.5)


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("greedy", "greedy", {"do_sample": False}),
        ("random", "sampling", {"top_k": 0, "top_p": 1.0}),
        ("top_k", "sampling", {"top_k": 5, "top_p": 1.0}),
        ("top_p", "sampling", {"top_k": 0, "top_p": 0.1}),
        ("beam", "beam search", {"num_beams": 5, "length_penalty": 0.0}),
        ("contrastive", "contrastive search", {"penalty_alpha": 0.6, "top_k": 5}),
    ],
)
def test_a_sampler_replaces_the_method_only(name, method, expected):
    found = options_of(name, PRESENT)
    assert found.method == method
    assert {option: getattr(found, option) for option in expected} == expected
    assert (found.temperature, found.n) == (1.0, 1)
    assert (found.max_new_tokens, found.stop_tokens, found.seed) == (9, (3,), 1)


def test_options_are_taken_as_they_are():
    options = GenerationOptions(num_beams=2)
    assert options_of(options, PRESENT) is options


@pytest.mark.parametrize(
    ("sampler", "hint"), [("topk", "'top_k'"), ("speculative", "'greedy'"), (5, "a GenerationOptions")]
)
def test_an_unknown_sampler_is_an_error(sampler, hint):
    with pytest.raises(ArgumentError, match=f"compile: sampler=.*{hint}"):
        options_of(sampler, PRESENT)
