"""Beam search: continues the beams of each prompt, and reorders their caches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra_generation.decoding.session import Array, Session
from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.processors import Processors
from vertebra_generation.search.beam import Answer, BeamSearch, IsStopped


def search_beams(
    session: Session,
    options: GenerationOptions,
    prompts: Sequence[Sequence[int]],
    most_new: Sequence[int],
    is_stopped: IsStopped | None,
) -> list[list[Answer]]:
    """Returns the best answers to each prompt, best first.

    Args:
        session: The prompts, before their start.
        options: The options.
        prompts: The token ids of each prompt, for penalties.
        most_new: The most tokens of the answers to each prompt.
        is_stopped: Says which answers end with a stop string, or None.
    """
    count = options.num_beams
    search = BeamSearch(options, len(prompts), most_new)
    processors = Processors(options, [prompt for prompt in prompts for _ in range(count)])
    numbers = np.arange(len(prompts)) * count  # of the rows of the session, among the beams of all prompts
    outputs = session.start()
    while True:
        step = search.step(processors.apply(_log_softmax(outputs["logits"]), numbers), is_stopped)
        if not len(step.tokens):
            return search.answers()
        beams = step.prompts * count + np.tile(np.arange(count), len(step.prompts) // count)
        processors.reorder(beams, numbers[step.parents])
        processors.append(beams, step.tokens)
        session.select(step.parents)
        outputs, numbers = session.advance(step.tokens), beams


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found
