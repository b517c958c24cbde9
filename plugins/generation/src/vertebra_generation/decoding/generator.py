"""`Generator`: the answers to many prompts, batch by batch, and to some of them piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vertebra_generation.answers import Answer, Piece
from vertebra_generation.decoding.beams import search_beams
from vertebra_generation.decoding.contrastive import ContrastiveLoop
from vertebra_generation.decoding.loop import Loop
from vertebra_generation.decoding.prefix import Prefix
from vertebra_generation.decoding.session import Session, context_of
from vertebra_generation.decoding.steps import Steps
from vertebra_generation.decoding.tracker import Tracker
from vertebra_generation.decoding.uncached import UncachedSession
from vertebra_generation.sampling.options import GenerationOptions
from vertebra_generation.sampling.sampler import Sampler
from vertebra_generation.stopping.stream import StopStringCheck

_MANY_TOKENS = 64
"""The number of new tokens from which it is worth while to pack the weights, which takes as long as a few tokens."""
_SHORT_OF_CONTEXT = 2**31


@dataclass(frozen=True, slots=True)
class Request:
    """Prompts with the options of their answers."""

    prompts: Sequence[Sequence[int]]
    """The token ids of each prompt, at least one each, without those of the prefix."""
    options: GenerationOptions
    adapters: Any = None
    """The name of a LoRA adapter, a list with one for each prompt, or None for the active ones."""
    prefix: Prefix | None = None
    indices: Sequence[int] = field(default_factory=tuple)
    """The index of each prompt in the call."""
    numbers: Sequence[int] | None = None
    """The number of each prompt, by which draws differ, or None for its index."""

    def part(self, indices: Sequence[int]) -> Request:
        """Returns the request for some of the prompts."""
        adapters = self.adapters
        if isinstance(adapters, list | tuple):
            adapters = [adapters[index] for index in indices]
        numbers = None if self.numbers is None else [self.numbers[index] for index in indices]
        prompts = [self.prompts[index] for index in indices]
        return Request(prompts, self.options, adapters, self.prefix, tuple(indices), numbers)


class Generator:
    """Generates answers with a task.

    Args:
        task: The causal language model.
    """

    def __init__(self, task: Any) -> None:
        self._task, self._steps = task, Steps(task)

    def answers(self, request: Request, batch_size: int) -> list[list[Answer]]:
        """Returns the answers to each prompt; prompts of about one length are in one batch."""
        lengths = [len(prompt) for prompt in request.prompts]
        order = np.argsort(-np.asarray(lengths), kind="stable").tolist()
        found: list[list[Answer]] = [[] for _ in lengths]
        sampler = Sampler(request.options)  # one seed for all batches
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            for index, answers in zip(indices, self._batch(request.part(indices), sampler), strict=True):
                found[index] = answers
        return found

    def pieces(self, request: Request) -> Iterator[Piece]:
        """Yields the pieces of the answers to prompts, which are one batch."""
        part = request.part(range(len(request.prompts)))
        yield from self._run(part, Sampler(request.options), self._tracker(part))

    def prefix(self, ids: Sequence[int], adapter: str | None) -> Prefix | None:
        """Computes tokens that prompts begin with; None if the architecture has no cache."""
        if self._steps.layers is None:
            return None
        with closing(Session(self._steps, [ids], 0, adapter, keeps_all=True)) as session:
            session.start()
            return session.prefix()

    # === One batch ===

    def _batch(self, request: Request, sampler: Sampler) -> list[list[Answer]]:
        if request.options.method == "beam search":
            return self._best_beams(request)
        tracker = self._tracker(request)
        for _ in self._run(request, sampler, tracker):
            pass
        return tracker.answers()

    def _run(self, request: Request, sampler: Sampler, tracker: Tracker) -> Iterator[Piece]:
        options, most = request.options, int(max(self._most_new(request)))
        is_contrastive = options.method == "contrastive search"
        with closing(self._session(request, most, has_states=is_contrastive)) as session:
            if is_contrastive:
                loop: Any = ContrastiveLoop(session, options, request.prompts)
            else:
                numbers = np.asarray(request.indices if request.numbers is None else request.numbers) * options.n
                loop = Loop(session, options, request.prompts, numbers.tolist(), sampler)
            for step in loop.steps():
                pieces, ended = tracker.add(step.rows, step.tokens, step.log_probs)
                loop.end(ended)
                yield from pieces

    def _best_beams(self, request: Request) -> list[list[Answer]]:
        most, room = self._most_new(request), self._room(request)
        tokenizer, options = self._task.tokenizer, request.options
        strings = options.stop_strings
        is_stopped = StopStringCheck(tokenizer, strings) if strings and tokenizer is not None else None
        with closing(self._session(request, int(max(most)))) as session:
            beams = search_beams(session, options, request.prompts, most, is_stopped)
        found: list[list[Answer]] = []
        for prompt, answers in enumerate(beams):
            count = len(answers)
            tracker = Tracker(tokenizer, options, [most[prompt]] * count, 1, [room[prompt]] * count)
            for row, answer in enumerate(answers):
                for token in answer.tokens.tolist():
                    tracker.add(np.array([row]), np.array([token]), np.zeros(1, "float32"))
            scored = zip(answers, tracker.answers(), strict=True)
            found.append([Answer(one.token_ids, one.text, one.finish_reason, beam.score) for beam, (one,) in scored])
        return found

    def _session(self, request: Request, most_new: int, has_states: bool = False) -> Any:
        if self._steps.layers is None:
            return UncachedSession(self._steps, request.prompts, request.adapters, has_states)
        many = most_new >= _MANY_TOKENS and len(request.prompts) * request.options.n * request.options.num_beams > 1
        steps = self._steps.for_many_tokens() if many else self._steps
        return Session(steps, request.prompts, most_new, request.adapters, request.prefix, has_states)

    def _tracker(self, request: Request) -> Tracker:
        return Tracker(
            self._task.tokenizer,
            request.options,
            self._most_new(request),
            request.options.n,
            self._room(request),
            request.indices,
        )

    def _most_new(self, request: Request) -> list[int]:
        """Returns the most tokens of the answers to each prompt: no more than there are positions for."""
        before = 0 if request.prefix is None else request.prefix.length
        wanted = [request.options.most_new_tokens(before + len(prompt)) for prompt in request.prompts]
        return [min(most, room) for most, room in zip(wanted, self._room(request), strict=True)]

    def _room(self, request: Request) -> list[int]:
        """Returns the number of positions after each prompt; the last token of an answer needs none."""
        before = 0 if request.prefix is None else request.prefix.length
        limit = context_of(self._task) or _SHORT_OF_CONTEXT
        return [limit - before - len(prompt) + 1 for prompt in request.prompts]
