"""The steps of decoding, as compiled functions of a task's tensors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from keras import ops

import vertebra
from vertebra import CacheLayout, layers, tasks
from vertebra.errors import ArgumentError


class Steps:
    """The compiled steps of a task: one for prompts and one for further tokens, for each kind of cache.

    Args:
        task: The task; its `logits_of` turns hidden states into logits.
    """

    def __init__(self, task: Any) -> None:
        self.task, self.runtime = task, vertebra.use()
        backbone = task.backbone
        self.layers = tasks.cache_of_architecture(type(backbone).__name__, backbone.constructor_config())
        """What each attention layer caches, or None if the architecture does not say."""
        if self.layers == ():
            expected = f"a decoder: attention of this {type(backbone).__name__} goes in both directions"
            raise ArgumentError("generate", "backbone", type(backbone).__name__, expected)
        self._steps: dict[Any, Callable[[], Callable[..., Any]]] = {}
        self._lock = threading.Lock()

    def for_many_tokens(self) -> Steps:
        """Returns the steps for many tokens, during which no weight changes; they share the compiled programs."""
        return _PackedSteps(self)

    def bound(self, layout: CacheLayout, *, is_first: bool, has_states: bool) -> Callable[..., Any]:
        """Returns a step for the present variables and chosen adapters, as a function `(inputs, cache)`.

        The inputs are `token_ids` and `positions`, both int32, shape (rows, tokens), with padding at the start, where
        positions are -1; and `slot`, the number of tokens in the cache. It returns the outputs and the next cache; the
        outputs are `logits` of the token after the last one, float32, shape (rows, vocabulary), and if asked for the
        hidden `states` of all tokens, float32, shape (rows, tokens, width).

        Args:
            layout: The sizes of the cache.
            is_first: Whether the cache has no tokens yet.
            has_states: Whether hidden states are returned.
        """
        return self.compiled(layout, is_first, has_states)()

    def compiled(self, layout: CacheLayout, is_first: bool, has_states: bool) -> Callable[[], Callable[..., Any]]:
        """Returns the function that binds a step; the arguments are those of `bound`."""
        rings = tuple(layout.length(window) if layout.is_ring(window) else None for window in layout.windows)
        key = (rings, is_first, has_states)  # one program serves caches that differ in capacity only
        with self._lock:
            if key not in self._steps:
                self._steps[key] = self.compile(layout, is_first, has_states)
        return self._steps[key]

    def compile(self, layout: CacheLayout, is_first: bool, has_states: bool) -> Callable[[], Callable[..., Any]]:
        """Compiles a step."""
        return self.runtime.compile_step(self.task, _step(self.task, layout, is_first, has_states))


class _PackedSteps(Steps):
    """Steps with packed copies of the weights where those are faster, which exist as long as these steps."""

    def __init__(self, steps: Steps) -> None:
        self.task, self.runtime, self.layers = steps.task, steps.runtime, steps.layers
        self._all, self._steps, self._lock = steps, {}, threading.Lock()

    def compile(self, layout: CacheLayout, is_first: bool, has_states: bool) -> Callable[[], Callable[..., Any]]:
        step = self._all.compiled(layout, is_first, has_states)
        return step if is_first else self.runtime.pack(step)


def _step(task: Any, layout: CacheLayout, is_first: bool, has_states: bool) -> Callable[..., Any]:
    def step(inputs: Any, cache: Any) -> Any:
        positions = inputs["positions"]
        call = layers.Decoding(layers.Cache(*cache), layout, positions, inputs["slot"], is_first=is_first)
        mask = ops.cast(positions >= 0, "int32")
        with layers.decoding(call):
            states = task.backbone({"token_ids": inputs["token_ids"], "padding_mask": mask}, training=False)
        outputs = {"logits": ops.cast(task.logits_of(states[:, -1]), "float32")}
        if has_states:
            outputs["states"] = ops.cast(states, "float32")
        return outputs, call.result

    return step
