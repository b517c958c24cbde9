"""Compiling with `jax.jit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def compile_backbone(backbone: Any) -> Callable[..., Any]:
    """Returns the forward pass as one jitted function; the weights are its arguments, read at each call."""

    @jax.jit
    def forward(trainable: Any, frozen: Any, inputs: Any) -> Any:
        return backbone.stateless_call(trainable, frozen, inputs, training=False)[0]

    def compiled(inputs: Any) -> Any:
        trainable = [variable.value for variable in backbone.trainable_variables]
        frozen = [variable.value for variable in backbone.non_trainable_variables]
        return forward(trainable, frozen, inputs)

    return compiled
