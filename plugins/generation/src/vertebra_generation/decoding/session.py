"""`Session`: a batch of sequences that is continued step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from vertebra import CacheLayout, layers
from vertebra_generation.decoding.adapters import AdapterChoice
from vertebra_generation.decoding.prefix import Prefix
from vertebra_generation.decoding.steps import Steps

Array = np.ndarray[Any, Any]
Outputs = dict[str, Array]
_NO_LIMIT = 2**31


def context_of(task: Any) -> int | None:
    """Returns the number of positions of a task's backbone, or None if there are any number."""
    limit: int | None = getattr(task.backbone, "max_sequence_length", None)
    return limit


class Session:
    """Sequences with the keys and values of their tokens.

    Args:
        steps: The compiled steps of the task.
        prompts: The token ids of each prompt, at least one token each.
        most_new: The most tokens that will follow a prompt.
        adapters: The name of a LoRA adapter, a list with one for each prompt, or None for the active ones.
        prefix: Tokens before all prompts that are computed already, or None.
        has_states: Whether steps return hidden states.
        keeps_all: Whether layers with windows keep the prompts' tokens that they do not see any more, too.
    """

    def __init__(
        self,
        steps: Steps,
        prompts: Sequence[Sequence[int]],
        most_new: int,
        adapters: Any = None,
        prefix: Prefix | None = None,
        has_states: bool = False,
        keeps_all: bool = False,
    ) -> None:
        self._steps, self._prompts, self._has_states, self._prefix = steps, prompts, has_states, prefix
        self._choice = AdapterChoice(steps.task, adapters)
        self._slot = 0 if prefix is None else prefix.slots
        before = 0 if prefix is None else prefix.length
        lengths = [len(prompt) for prompt in prompts]
        self._length = CacheLayout.prompt_slots(max(lengths), steps.runtime.compiles_each_shape)
        self._next = np.array([before + length for length in lengths], "int32")
        self._last = (context_of(steps.task) or _NO_LIMIT) - 1
        self._most_slots = self._slot + self._length + most_new
        padding = self._length if keeps_all else self._length - min(lengths)
        gap = padding + (0 if prefix is None else prefix.slots)
        self._layout = CacheLayout.for_prompts(steps.layers or (), self._slot + self._length, gap, most_new)
        self._cache: Any = None
        self._bound: Any = None

    @property
    def rows(self) -> int:
        """The number of sequences."""
        return len(self._next)

    def start(self) -> Outputs:
        """Computes the prompts; returns the outputs of `Steps.bound` as arrays, `states` with padding at the start."""
        ids = np.zeros((self.rows, self._length), "int32")
        positions = np.full((self.rows, self._length), layers.PADDING, "int32")
        for row, prompt in enumerate(self._prompts):
            ids[row, self._length - len(prompt) :] = prompt
            positions[row, self._length - len(prompt) :] = np.arange(self._next[row] - len(prompt), self._next[row])
        if self._prefix is None:
            dtype = self._steps.task.backbone.compute_dtype
            self._cache = layers.empty_cache(self._layout, self.rows, dtype)
        else:
            self._cache = self._prefix.cache_for(self._layout, self.rows)
        return self._step(ids, positions, is_first=self._prefix is None)

    def advance(self, tokens: Array) -> Outputs:
        """Adds a token to each sequence, int32, shape (rows,); returns the outputs as arrays."""
        # Rows that have ended, and are computed with others, may have no further position: they get the last one.
        positions = np.minimum(self._next, self._last)[:, None]
        self._next = self._next + 1
        return self._step(np.asarray(tokens, "int32")[:, None], positions, is_first=False)

    def select(self, rows: Array) -> None:
        """Continues with other rows, each of which is one of the present ones; some may be repeated or left out."""
        numbers = np.asarray(rows, "int32")
        self._cache = layers.Cache(
            *(tuple(ops.take(tensor, numbers, axis=0) for tensor in tensors) for tensors in self._cache)
        )
        self._next, self._bound = self._next[numbers], None
        self._choice = self._choice.of_rows(numbers.tolist())

    def close(self) -> None:
        """Ends the choice of adapters."""
        self._choice.close()

    def prefix(self) -> Prefix:
        """Returns the tokens of the first sequence for later sessions; this one ends."""
        return Prefix(self._cache, self._layout, slots=self._slot, length=int(self._next[0]))

    def _step(self, ids: Array, positions: Array, *, is_first: bool) -> Outputs:
        self._make_room(ids.shape[1])
        inputs = {"token_ids": ids, "positions": positions, "slot": np.asarray(self._slot, "int32")}
        outputs, self._cache = self._choice.run(lambda: self._bound_step(is_first)(inputs, self._cache))
        self._slot += ids.shape[1]
        return {name: np.asarray(ops.convert_to_numpy(value)) for name, value in outputs.items()}

    def _bound_step(self, is_first: bool) -> Any:
        if self._bound is None or is_first:
            self._bound = self._steps.bound(self._layout, is_first=is_first, has_states=self._has_states)
        step, self._bound = self._bound, None if is_first else self._bound
        return step

    def _make_room(self, tokens: int) -> None:
        """Lets the cache grow if it has no slots for more tokens."""
        if self._slot + tokens > self._layout.capacity:
            larger = self._layout.grown(self._slot + tokens, self._most_slots)
            self._cache = layers.grown_cache(self._cache, self._layout, larger)
            self._layout, self._bound = larger, None
