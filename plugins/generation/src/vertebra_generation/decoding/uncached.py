"""`UncachedSession`: continues sequences of an architecture that declares no cache, by computing all their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

import vertebra
from vertebra import CacheLayout
from vertebra_generation.decoding.adapters import AdapterChoice
from vertebra_generation.decoding.session import Array, Outputs, context_of
from vertebra_generation.decoding.steps import Steps


class UncachedSession:
    """Sequences as their token ids, with the methods of `Session`; each step takes as long as a pass over all tokens.

    Args:
        steps: The steps of the task.
        prompts: The token ids of each prompt, at least one token each.
        adapters: As in `Session`.
        has_states: Whether steps return hidden states.
    """

    def __init__(
        self, steps: Steps, prompts: Sequence[Sequence[int]], adapters: Any = None, has_states: bool = False
    ) -> None:
        self._steps, self._has_states = steps, has_states
        self._choice = AdapterChoice(steps.task, adapters)
        self._ids = [list(prompt) for prompt in prompts]
        self._most = context_of(steps.task)
        self._program = vertebra.compile(steps.task.backbone)

    @property
    def rows(self) -> int:
        """The number of sequences."""
        return len(self._ids)

    def start(self) -> Outputs:
        """Computes the prompts, as `Session.start`."""
        states, lengths = self._states()
        outputs = self._outputs(states, lengths)
        if self._has_states:
            most = int(lengths.max())
            outputs["states"] = np.stack(
                [np.roll(row[:most], most - length, axis=0) for row, length in zip(states, lengths, strict=True)]
            )
        return outputs

    def advance(self, tokens: Array) -> Outputs:
        """Adds a token to each sequence, as `Session.advance`."""
        for ids, token in zip(self._ids, np.asarray(tokens).tolist(), strict=True):
            if self._most is None or len(ids) < self._most:  # a row that has ended may have no further position
                ids.append(token)
        states, lengths = self._states()
        outputs = self._outputs(states, lengths)
        if self._has_states:
            outputs["states"] = _last(states, lengths)[:, None]
        return outputs

    def select(self, rows: Array) -> None:
        """Continues with other rows, as `Session.select`."""
        numbers = np.asarray(rows).tolist()
        self._ids = [list(self._ids[number]) for number in numbers]
        self._choice = self._choice.of_rows(numbers)

    def close(self) -> None:
        """Ends the choice of adapters, as `Session.close`."""
        self._choice.close()

    def _states(self) -> tuple[Array, Array]:
        lengths = np.array([len(ids) for ids in self._ids])
        shape = (self.rows, CacheLayout.prompt_slots(int(lengths.max()), self._steps.runtime.compiles_each_shape))
        ids, mask = np.zeros(shape, "int32"), np.zeros(shape, "int32")
        for row, found in enumerate(self._ids):
            ids[row, : len(found)], mask[row, : len(found)] = found, 1
        states = self._choice.run(lambda: self._program({"token_ids": ids, "padding_mask": mask}))
        return np.asarray(ops.convert_to_numpy(ops.cast(states, "float32"))), lengths

    def _outputs(self, states: Array, lengths: Array) -> Outputs:
        last = ops.cast(ops.convert_to_tensor(_last(states, lengths)), self._steps.task.backbone.compute_dtype)
        logits = ops.stop_gradient(self._steps.task.logits_of(last))
        return {"logits": np.asarray(ops.convert_to_numpy(ops.cast(logits, "float32")))}


def _last(states: Array, lengths: Array) -> Array:
    found: Array = states[np.arange(len(states)), lengths - 1]
    return found
