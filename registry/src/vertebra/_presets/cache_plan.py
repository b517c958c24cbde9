"""Plans the cache with which a decoder generates text: its size, from the config alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vertebra._tasks.caches import cache_of_architecture
from vertebra.errors import ArgumentError
from vertebra.specs import CacheLayout

PROMPT_TOKENS, NEW_TOKENS = 512, 256
"""The lengths that are planned if none are given."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """The lengths of a text that is to be generated, and how often at once."""

    rows: int = 1
    """Number of sequences: prompts, times answers or beams for each."""
    prompt: int | None = None
    """Number of tokens of each prompt."""
    new: int | None = None
    """Number of tokens of each answer."""

    def __post_init__(self) -> None:
        for option, value in (("batch-size", self.rows), ("prompt-tokens", self.prompt), ("new-tokens", self.new)):
            if value is not None and value < 1:
                raise ArgumentError("vertebra plan", f"--{option}", value, "a number of at least 1")


@dataclass(frozen=True, slots=True)
class CachePlan:
    """The cache of keys and values once the answers have their last tokens."""

    rows: int
    """Number of sequences."""
    prompt_tokens: int
    """Number of tokens of each prompt."""
    new_tokens: int
    """Number of tokens of each answer, as far as the backbone has positions."""
    slots: int
    """Number of slots for the tokens of a sequence; layers with a window have fewer."""
    bytes: int
    """Size of the cache."""


def plan_cache(
    backbone: str, arguments: Mapping[str, Any], lengths: Lengths, itemsize: int, is_compiled: bool
) -> CachePlan:
    """Returns the cache that `vertebra-generation` allocates for prompts of one length.

    Args:
        backbone: Name of the backbone's class.
        arguments: Arguments of its constructor.
        lengths: Those of the text.
        itemsize: Size of a number in bytes.
        is_compiled: Whether the runtime compiles each shape.

    Raises:
        ArgumentError: the architecture declares no cache, or the prompt is longer than the backbone allows.
        KeyError: an argument is missing.
    """
    layers = cache_of_architecture(backbone, arguments)
    if not layers:
        expected = "a preset of a decoder whose architecture declares a cache, such as GPT2Backbone"
        raise ArgumentError("vertebra plan", "--generate", backbone, expected)
    prompt, new = _in_context(lengths, arguments.get("max_sequence_length"))
    slots = CacheLayout.prompt_slots(prompt, is_compiled)
    layout = CacheLayout.for_prompts(layers, slots, slots - prompt, new)
    while layout.capacity < slots + new - 1:  # the last token of an answer is not computed
        layout = layout.grown(layout.capacity + 1, slots + new)
    return CachePlan(lengths.rows, prompt, new, layout.capacity, layout.bytes(lengths.rows, itemsize))


def _in_context(lengths: Lengths, limit: int | None) -> tuple[int, int]:
    """Returns the lengths of prompt and answer, within the positions of the backbone."""
    if limit is None:
        return lengths.prompt or PROMPT_TOKENS, lengths.new or NEW_TOKENS
    if lengths.prompt is not None and lengths.prompt > limit:
        expected = f"at most {limit:,}, the positions of the backbone"
        raise ArgumentError("vertebra plan", "--prompt-tokens", lengths.prompt, expected)
    prompt = lengths.prompt or min(PROMPT_TOKENS, limit)
    return prompt, min(lengths.new or NEW_TOKENS, limit - prompt + 1)
