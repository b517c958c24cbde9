"""The samplers of KerasHub, by name, as `GenerationOptions`."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from vertebra.errors import ArgumentError, close_names
from vertebra_generation.sampling.options import GenerationOptions

_SAMPLERS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "random": {"do_sample": True, "top_k": 0},
    "top_k": {"do_sample": True, "top_k": 5},
    "top_p": {"do_sample": True, "top_k": 0, "top_p": 0.1},
    "beam": {"num_beams": 5, "length_penalty": 0.0},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 5},
}
"""The names of `keras_hub.samplers` with the defaults of those classes."""
_OF_METHODS = (
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "num_beams",
    "length_penalty",
    "early_stopping",
    "penalty_alpha",
    "n",
)


def options_of(sampler: Any, present: GenerationOptions) -> GenerationOptions:
    """Returns the options that a sampler means.

    Args:
        sampler: The name of one of KerasHub's samplers, or options, which are returned.
        present: Options whose lengths, penalties, stops and seed are kept.

    Raises:
        ArgumentError: the sampler is unknown.
    """
    if isinstance(sampler, GenerationOptions):
        return sampler
    if not isinstance(sampler, str) or sampler not in _SAMPLERS:
        near = close_names(sampler, _SAMPLERS) if isinstance(sampler, str) else []
        names = near or list(_SAMPLERS)
        expected = f"a GenerationOptions, or the name {' or '.join(map(repr, names))}"
        raise ArgumentError("compile", "sampler", sampler, expected)
    defaults = {field.name: field.default for field in fields(GenerationOptions) if field.name in _OF_METHODS}
    return replace(present, **(defaults | _SAMPLERS[sampler]))
