"""The options of generating text, as options of a command."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from vertebra.errors import ArgumentError
from vertebra_generation.sampling.options import GenerationOptions

MAX_NEW_TOKENS = 256
"""The most tokens of an answer, if neither the command nor the preset says another number."""
_OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("max_new_tokens", int, f"most tokens of an answer (default: the preset's, or {MAX_NEW_TOKENS})"),
    ("min_new_tokens", int, "no stop token ends an answer before it has N tokens"),
    ("temperature", float, "sampling: divides the logits; below 1 favours likely tokens"),
    ("top_k", int, "sampling: draw from the K likeliest tokens, 0 for all"),
    ("top_p", float, "sampling: draw from the fewest tokens whose probabilities sum up to P"),
    ("min_p", float, "sampling: draw from tokens of P times the probability of the likeliest"),
    ("seed", int, "sampling: the same seed draws the same tokens"),
    ("repetition_penalty", float, "penalty for tokens of prompt and answer, above 1"),
    ("presence_penalty", float, "penalty for tokens of the answer"),
    ("frequency_penalty", float, "penalty for tokens of the answer, for each time"),
    ("no_repeat_ngram_size", int, "no sequence of N tokens occurs twice"),
    ("num_beams", int, "beam search with N beams"),
    ("length_penalty", float, "beam search: above 0 favours long answers"),
    ("penalty_alpha", float, "contrastive search: weight of the similarity to former tokens"),
)
_METAVARS = {"top_k": "K", "top_p": "P", "min_p": "P"}
_OF_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "seed")
_FLAGS = {"do_sample=True": "--sample", "do_sample=False": "--no-sample"}


def add_generation_options(parser: Any) -> None:
    """Adds the options of how answers are generated, which `chosen_options` reads."""
    group = parser.add_argument_group("options of generating", "without them, those of the preset hold")
    for name, kind, text in _OPTIONS:
        metavar = _METAVARS.get(name, "N" if kind is int else "X")
        group.add_argument(f"--{_dashed(name)}", type=kind, metavar=metavar, help=text)
    what = "draw tokens at random; an option of sampling implies it (default: the preset's)"
    group.add_argument("--sample", action=argparse.BooleanOptionalAction, default=None, help=what)
    ends = "end an answer before TEXT; can be repeated"
    group.add_argument("--stop", action="append", metavar="TEXT", help=ends)


def add_model_options(parser: Any) -> None:
    """Adds the options of how a preset is loaded."""
    parser.add_argument("--adapter", help="LoRA adapter to load: a path or a handle")
    parser.add_argument("--runtime", help="the runtime, such as torch or jax")
    parser.add_argument("--dtype", help="dtype or dtype policy of the backbone (default: float32)")


def chosen_options(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the options that a command was given, by their names in `GenerationOptions`; loads no model.

    Raises:
        ArgumentError: one is out of range, or contradicts another one.
    """
    names = [name for name, _, _ in _OPTIONS]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    count = getattr(args, "n", None)
    given |= {} if count is None else {"n": count}
    given |= {"stop_strings": tuple(args.stop)} if args.stop else {}
    sample = args.sample
    if sample is None:
        if (args.num_beams or 1) > 1 or args.penalty_alpha:
            sample = False
        elif any(name in given for name in _OF_SAMPLING) or (count or 1) > 1:
            sample = True
    given |= {} if sample is None else {"do_sample": sample}
    with names_of_options():
        GenerationOptions.of(given)
    return given


def completed(given: dict[str, Any], defaults: GenerationOptions) -> dict[str, Any]:
    """Returns options for a call: as many new tokens as are usual in a terminal, if the preset says no number."""
    most = given.get("max_new_tokens") or defaults.max_new_tokens or MAX_NEW_TOKENS
    return given | {"max_new_tokens": most}


@contextlib.contextmanager
def names_of_options() -> Iterator[None]:
    """Gives errors about options within the block the names that the options have in a command."""
    try:
        yield
    except ArgumentError as error:
        known = {field.name for field in fields(GenerationOptions)}
        if error.argument not in known:
            raise
        raise ArgumentError(
            "Generating", _named(error.argument), error.value, _renamed(error.expected, known)
        ) from None


def _renamed(text: str, known: set[str]) -> str:
    for old, new in _FLAGS.items():
        text = text.replace(old, new)
    return re.sub(r"\b[a-z]+(?:_[a-z]+)+\b", lambda found: _named(found[0]) if found[0] in known else found[0], text)


def _named(name: str) -> str:
    if name == "n":
        return "-n"
    return {"do_sample": "--sample", "stop_strings": "--stop"}.get(name, f"--{_dashed(name)}")


def _dashed(name: str) -> str:
    return name.replace("_", "-")
