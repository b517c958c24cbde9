"""The options of generating in a command: what they imply, and the names of their errors."""

import argparse
from dataclasses import fields

import pytest

from vertebra.errors import ArgumentError
from vertebra_generation.commands.options import add_generation_options, chosen_options, completed
from vertebra_generation.sampling.options import GenerationOptions


def chosen(*words):
    parser = argparse.ArgumentParser()
    add_generation_options(parser)
    parser.add_argument("-n", type=int)
    return chosen_options(parser.parse_args(words))


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], {}),
        (["--sample"], {"do_sample": True}),
        (["--top-p", "0.9"], {"top_p": 0.9, "do_sample": True}),
        (["--seed", "1", "--no-sample"], {"seed": 1, "do_sample": False}),
        (["-n", "2"], {"n": 2, "do_sample": True}),
        (["-n", "2", "--num-beams", "2"], {"n": 2, "num_beams": 2, "do_sample": False}),
        (["--penalty-alpha", "0.6", "--top-k", "4"], {"penalty_alpha": 0.6, "top_k": 4, "do_sample": False}),
        (["--stop", "a", "--stop", "b"], {"stop_strings": ("a", "b")}),
        (["--max-new-tokens", "3", "--min-new-tokens", "2"], {"max_new_tokens": 3, "min_new_tokens": 2}),
    ],
)
def test_options_that_are_given(words, given):
    assert chosen(*words) == given


def test_every_option_is_one_of_python():
    parser = argparse.ArgumentParser()
    add_generation_options(parser)
    named = {action.dest for action in parser._actions} - {"help", "sample", "stop"}
    assert named < {field.name for field in fields(GenerationOptions)}


def test_an_error_has_the_names_of_the_command():
    with pytest.raises(ArgumentError, match=r"Generating: --min-new-tokens=5, expected at most --max-new-tokens=2"):
        chosen("--max-new-tokens", "2", "--min-new-tokens", "5")


@pytest.mark.parametrize(("given", "preset", "most"), [(3, 7, 3), (None, 7, 7), (None, None, 256)])
def test_the_most_tokens(given, preset, most):
    options = {} if given is None else {"max_new_tokens": given}
    assert completed(options, GenerationOptions(max_new_tokens=preset))["max_new_tokens"] == most
